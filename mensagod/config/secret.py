"""A value that must not be shown (spec 06, *Seeing what it does*)."""

from attrs import field, frozen

HIDDEN = "(not shown)"


@frozen(repr=False, str=False)
class Secret:
    """A password, or a text that contains one. Only :meth:`reveal` gives the text.

    Neither ``repr`` nor ``str`` nor formatting shows it, so that it cannot get into a log by accident.
    """

    _text: str = field()

    def reveal(self) -> str:
        """Give the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "<Secret>"

    def __str__(self) -> str:
        return HIDDEN
