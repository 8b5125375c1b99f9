"""The server as a Unix process: accounts and privileges, trusted configuration, open files, the log."""
