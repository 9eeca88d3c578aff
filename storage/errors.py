"""The error that a person reads; here, so that who reads a file for them need not know all the words."""


class UserError(Exception):
    """A caller's mistake. The text is one clear sentence, shown to the person as it is."""
