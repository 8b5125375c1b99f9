"""How an installation comes to be: what `mensagod init` makes (spec 06)."""
