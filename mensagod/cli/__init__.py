"""The ``mensagod`` command: each verb a module (spec 06, *The `mensagod` command*)."""
