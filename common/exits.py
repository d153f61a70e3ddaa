"""What the command line exits with (2, a wrong config, is `ConfigError.exit_code`)."""

FAILED = 1
NOT_BLESSED = 3
INTERRUPTED = 130
NOTHING_FOUND = 4
"""What was asked for is not there."""
CANNOT_TELL = 6
"""Nothing was found, and not everything could be looked at: the answer is not known."""
STORE_TROUBLE = 5
"""The metadata store cannot be opened or read."""
