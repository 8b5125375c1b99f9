"""Messages on their way: envelopes, their tags and labels (spec 05)."""
