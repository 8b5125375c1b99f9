"""The wire protocol without I/O: frames, messages, the greeting and status codes (spec 01)."""
