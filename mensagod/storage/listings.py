"""Lists of file names, joined by the database: there may be hundreds of thousands of them.

As rows they would be made one by one while nothing else of the process runs.
"""

from attrs import frozen

from mensagod.storage.rows import Row


@frozen
class Listing:
    """The names of files.

    :ivar names: sorted, with commas between them.
    """

    count: int
    names: str

    @classmethod
    def from_row(cls, row: Row) -> "Listing":
        """Make one from ``count`` and ``names``."""
        return cls(row.count, row.names or "")
