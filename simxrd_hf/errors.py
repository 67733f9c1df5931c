"""The one error class for input a user can mend; the command line turns it into exit code 2."""


class BadInput(ValueError):
    """Input that cannot be used as it is.

    The message names the file, crystal or field at fault and says what to do about it. Libraries raise it (or a
    subclass); the command line prints the message alone, without a traceback, and exits with code 2.
    """


class DoubtfulInput(UserWarning):
    """Input that was read although something in it is doubtful; the message names the file and what was assumed."""
