"""The organization's own identity: its keys, its keycard, and what DNS says of them (spec 03)."""
