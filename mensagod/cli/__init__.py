"""The ``mensagod`` command, with a module for each verb (spec 06, *The `mensagod` command*)."""
