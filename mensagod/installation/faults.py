"""The errors of setting up or using an installation."""


class InstallationFault(Exception):
    """The machine or the database does not allow it. The text is for the operator, and says what to do."""


class BadChoice(Exception):
    """A choice of the operator is not allowed. The text says what is."""
