"""How the parts of the server start, repeat their work, and stop."""
