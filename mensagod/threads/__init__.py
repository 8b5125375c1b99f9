"""Bounded thread pools, shared fairly between source addresses."""
