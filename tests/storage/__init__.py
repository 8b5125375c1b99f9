"""The database service, migrations and the embedded PostgreSQL, against real servers."""
