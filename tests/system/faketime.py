"""Processes whose clocks a test sets, by libfaketime."""

from glob import glob
from pathlib import Path

from attrs import define

_PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")


def find_library() -> str | None:
    """Find libfaketime on this machine."""
    return next((found for place in _PLACES for found in glob(place)), None)


@define
class FakeClock:
    """The clock of the processes that run with :attr:`variables`; timers do not follow it.

    :ivar file: says how far it is ahead.
    """

    library: str
    file: Path

    def __attrs_post_init__(self) -> None:
        self.set_ahead(0)

    def set_ahead(self, days: int) -> None:
        """Set it; the processes take notice at once."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{days:+}d\n")
        new.chmod(0o644)
        new.replace(self.file)

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of such a process needs."""
        return {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
