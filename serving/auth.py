"""The bearer token: one secret that every request has to bring, on every protocol alike.

It comes from the environment or from a file, never from a flag or the config: these are
seen by others (`ps`, a repository).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.config import AuthConfig
from serving.errors import UnauthorizedError
from trainers.errors import ConfigError

ENVIRONMENT = "VISIONLINE_SERVE_TOKEN"
SHORTEST = 16
"""Characters."""
_LONGEST = 4096


class Token:
    """The secret of a server; only its digest is kept.

    Args:
      secret: at least `SHORTEST` visible ASCII characters.
      source: where it comes from, for errors.

    Raises:
      ConfigError: it is no such text; the error does not quote it.
    """

    def __init__(self, secret: str, source: str) -> None:
        expected = (
            f"{source}: expected a token of {SHORTEST} to {_LONGEST} visible ASCII characters"
        )
        remedy = "Make one with: openssl rand -hex 32."
        if not SHORTEST <= len(secret) <= _LONGEST:
            raise ConfigError(f"{expected}, got {len(secret)}. {remedy}")
        if not all("!" <= character <= "~" for character in secret):
            raise ConfigError(f"{expected}, got others among them, or white space. {remedy}")
        self._digest = _digest(secret.encode())

    def check(self, authorization: Sequence[bytes]) -> None:
        """Takes a request's Authorization headers (or metadata).

        Raises:
          UnauthorizedError: they are not the one with the token.
        """
        only = authorization[0] if len(authorization) == 1 else b""
        scheme, _, given = only.partition(b" ")
        # Digests, so that the time it takes does not tell the length either.
        same = hmac.compare_digest(_digest(given.strip(b" ")), self._digest)
        if scheme.lower() != b"bearer" or not same:
            raise UnauthorizedError(
                "Expected this server's token: the header 'Authorization: Bearer TOKEN', over "
                "gRPC the metadata 'authorization'."
            )


def read_token(config: AuthConfig, environment: Mapping[str, str]) -> Token | None:
    """The token that a server is to ask for; None: it asks for none.

    Raises:
      ConfigError: it cannot be read or used, or is given twice.
    """
    secret = environment.get(ENVIRONMENT)
    if not config.token_file:
        return None if secret is None else Token(secret, ENVIRONMENT)
    where = f"auth.token_file: {config.token_file}"
    if secret is not None:
        raise ConfigError(f"Both {ENVIRONMENT} and auth.token_file are set; leave one out.")
    try:
        data = Path(config.token_file).read_bytes()
    except OSError as e:
        raise ConfigError(f"{where} cannot be read: {e.strerror}.") from None
    # Editors and `echo` end a file with a line end; bytes beyond ASCII are refused.
    return Token(data.decode("latin-1").removesuffix("\n").removesuffix("\r"), where)


def refuse_plain_token(data: Mapping[str, Any]) -> None:
    """Raises ConfigError for a config with the token itself in it; does not quote it."""
    auth = data.get("auth", {})
    if not isinstance(auth, Mapping):
        raise ConfigError("auth: expected a table, [auth].")
    if "token" in auth:
        raise ConfigError(
            "auth.token: a token does not belong into a config, where others read it. Set "
            f"the environment variable {ENVIRONMENT}, or name a file: auth.token_file."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
