"""The running server: listeners, connections, limits, and the service in which all parts meet."""
