"""Requests on files and directories (spec 04, *Files*)."""

from attrs import frozen

from mensagod.errors import BadValue
from mensagod.values.identity import RandomID
from mensagod.values.paths import ServerPath
from mensagod.values.times import parse_long, parse_unix_time
from mensagod.wire.fields import Fields, optional, refused, required


def parse_directory(text: str) -> ServerPath:
    """Parse the path of a directory."""
    path = ServerPath.from_text(text)
    if path.is_file:
        raise BadValue("a directory's path is needed here")
    return path


def parse_file(text: str) -> ServerPath:
    """Parse the path of a file."""
    path = ServerPath.from_text(text)
    if not path.is_file:
        raise BadValue("a file's path is needed here")
    return path


@frozen(kw_only=True)
class SelectFields(Fields):
    """SELECT."""

    path: ServerPath = required("Path", parse_directory, "the directory")


@frozen(kw_only=True)
class ExistsFields(Fields):
    """EXISTS."""

    path: ServerPath = required("Path", ServerPath.from_text, "a file or a directory")


@frozen(kw_only=True)
class ListFields(Fields):
    """LIST."""

    path: ServerPath | None = optional("Path", parse_directory, "the directory; else the current one")
    time: int = optional("Time", parse_unix_time, "only files of that time or later", default=0)


@frozen(kw_only=True)
class DownloadFields(Fields):
    """DOWNLOAD, the first request."""

    size: None = refused("Size", "belongs to the second request")
    path: ServerPath = required("Path", parse_file, "the file")
    offset: int = optional("Offset", parse_long, "where to begin in the file, in bytes", default=0)


@frozen(kw_only=True)
class DownloadDataFields(Fields):
    """DOWNLOAD, the second request."""

    size: str = required("Size", str, "the Size of the first answer; Path and Offset are ignored here")


@frozen(kw_only=True)
class GetUpdatesFields(Fields):
    """GETUPDATES."""

    time: int = required("Time", parse_unix_time, "records of that second and later")
    since: RandomID | None = optional(
        "Since", RandomID.from_text, "if given, the records after this one instead"
    )
