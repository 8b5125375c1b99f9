"""Values of the protocol, well formed once they exist: IDs, names, addresses, paths, times (spec 02)."""
