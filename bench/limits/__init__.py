"""The limits: minimal programs that do the same work with the same libraries, measured in the same way."""
