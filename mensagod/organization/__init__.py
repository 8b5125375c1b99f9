"""The organization's identity: its keys, its keycard and its DNS records (spec 03)."""
