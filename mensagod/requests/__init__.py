"""What clients can ask, request by request: the fields of each command (spec 04).

The commands read them, the client writes them, the reference page shows them.
"""
