"""Conversations with clients: who they are, what is pending, and those that this process has."""
