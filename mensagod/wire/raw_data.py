"""Where the bytes of raw data phases come from and go to (spec 01, *Raw data phases*)."""

from zope.interface import Interface


class ISink(Interface):
    """Where the bytes of a raw data phase go (spec 01, *Raw data phases*)."""

    async def write(data: bytes) -> None:
        """Take the next bytes, and return when more may come.

        :raises mensagod.errors.CommandError: the rest is of no use: it is read and discarded, and the
            command that takes the data hears the error.
        """


class ISource(Interface):
    """Where the bytes of a raw data phase come from. One read at a time."""

    def read_ready(size: int) -> bytes:
        """Give some of the next bytes, at most ``size``, if that needs no waiting for a disk; else none."""

    def read(size: int) -> bytes:
        """Give the next bytes, at most ``size``; fewer only at the end. Runs in a thread.

        :raises OSError: if the content cannot be read; the connection is closed then.
        """

    def close() -> None:
        """Let go of what is read from. May be called more than once."""
