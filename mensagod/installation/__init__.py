"""Setting up an installation, as ``mensagod init`` and ``mensagod quickstart`` do (spec 06)."""
