"""Tests that cross real sockets and a real PostgreSQL."""
