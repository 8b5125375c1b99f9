"""Sources and sinks of raw data phases (spec 01, *Raw data phases*)."""

from zope.interface import Interface


class ISink(Interface):
    """Receives the bytes of a raw data phase (spec 01, *Raw data phases*)."""

    async def write(data: bytes) -> None:
        """Write the next bytes; return when more may be written.

        :raises mensagod.errors.CommandError: to reject the data: the rest is read and discarded, and the
            error is raised in the command that receives the data.
        """


class ISource(Interface):
    """Gives the bytes of a raw data phase. There is only one read at a time."""

    def read_ready(size: int) -> bytes:
        """Give some of the next bytes, at most ``size``, if that does not block; otherwise no bytes."""

    def read(size: int) -> bytes:
        """Give the next bytes, at most ``size``; fewer only at the end. Runs in a thread.

        :raises OSError: if the content cannot be read; the connection is then closed.
        """

    def close() -> None:
        """Close what the bytes are read from. May be called more than once."""
