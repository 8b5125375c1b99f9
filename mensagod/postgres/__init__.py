"""The PostgreSQL of a configuration, and the embedded one that the server runs (spec 06, *Database*)."""
