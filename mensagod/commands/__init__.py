"""The commands of the protocol, one module for each family (spec 04), and their registry and dispatch."""
