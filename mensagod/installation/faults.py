"""Why an installation cannot be made."""


class InstallationFault(Exception):
    """What the machine or the database does not allow: one sentence for the operator, with what helps."""


class BadChoice(Exception):
    """What the operator chose cannot be: one sentence with what is allowed."""
