"""The wire protocol without I/O: frames, messages, fields and status codes (spec 01)."""
