"""What values a key may have."""

from __future__ import annotations

from common.errors import ConfigError


def require(ok: bool, message: str) -> None:
    """Raises ConfigError(message) unless `ok`."""
    if not ok:
        raise ConfigError(message)
