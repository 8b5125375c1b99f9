"""The process on its machine: accounts and privileges, trusted configuration, open files, the log."""
