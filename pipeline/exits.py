"""What the command line exits with (2, a wrong config, is `ConfigError.exit_code`)."""

FAILED = 1
NOT_BLESSED = 3
INTERRUPTED = 130
