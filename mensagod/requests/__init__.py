"""The fields of all requests (spec 04), shared by the server and the client.

Commands read them, the client writes them, and the reference page is generated from them.
"""
