"""Compare the files of an sdist with those that are tracked.

``git ls-tree -r --name-only HEAD | check_sdist.py ARCHIVE``
"""

import sys
import tarfile
from pathlib import PurePosixPath

LEFT_OUT = {".gitignore"}
"""Tracked, but of no use outside a repository."""

MADE = "mensagod.egg-info/"


def main() -> None:
    """End with status 1 and the differences, if there are any."""
    tracked = set(sys.stdin.read().splitlines()) - LEFT_OUT
    with tarfile.open(sys.argv[1]) as archive:
        members = [member.name for member in archive if member.isfile()]
    packed = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in members}
    packed = {name for name in packed if name != "PKG-INFO" and not name.startswith(MADE)}
    faults = [f"missing: {name}" for name in sorted(tracked - packed)]
    faults += [f"not tracked: {name}" for name in sorted(packed - tracked)]
    if faults or not tracked:
        sys.exit("\n".join(["the sdist is not what is tracked", *faults]))
    print(f"the sdist has all {len(tracked)} files")


if __name__ == "__main__":
    main()
