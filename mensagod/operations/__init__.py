"""What the server does, one module a subject: typed arguments in, results out, no wire and no session."""
