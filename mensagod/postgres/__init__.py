"""The PostgreSQL of a configuration, and the embedded one that we run ourselves (06, *Database*)."""
