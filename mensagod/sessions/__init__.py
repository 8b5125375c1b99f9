"""Sessions with clients: who the client is, the running command, and the live sessions of this process."""
