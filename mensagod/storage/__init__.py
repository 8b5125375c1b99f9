"""Storage: the database, its schema, and the files of workspaces."""
