"""Bounded pools of threads, shared fairly between those who ask for work."""
