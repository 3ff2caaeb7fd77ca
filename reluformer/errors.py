"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """Bad input or settings: one line that says what is wrong, where, and what to do about it.

    Commands print it as `error: ...` and exit with status 2; anything else that escapes a
    command is a defect of the toolkit.
    """
