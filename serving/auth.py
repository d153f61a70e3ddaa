"""The bearer tokens: a secret that every request has to bring, and one to load and unload.

They come from the environment or from a file, never from a flag or the config: these are
seen by others (`ps`, a repository).  Who has the second may do what the first one is for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from serving.config import AuthConfig, ServeConfig
from serving.errors import UnauthorizedError

ENVIRONMENT = "VISIONLINE_SERVE_TOKEN"
CONTROL_ENVIRONMENT = "VISIONLINE_SERVE_CONTROL_TOKEN"
SHORTEST = 16
"""Characters."""
_LONGEST = 4096


class Token:
    """The secret of a server; only its digest is kept.

    Args:
      secret: at least `SHORTEST` visible ASCII characters.
      source: where it comes from, for errors.
      name: what it is called in refusals.

    Raises:
      ConfigError: it is no such text; the error does not quote it.
    """

    def __init__(self, secret: str, source: str, name: str = "token") -> None:
        expected = (
            f"{source}: expected a token of {SHORTEST} to {_LONGEST} visible ASCII characters"
        )
        remedy = "Make one with: openssl rand -hex 32."
        if not SHORTEST <= len(secret) <= _LONGEST:
            raise ConfigError(f"{expected}, got {len(secret)}. {remedy}")
        if not all("!" <= character <= "~" for character in secret):
            raise ConfigError(f"{expected}, got others among them, or white space. {remedy}")
        self._digest = _digest(secret.encode())
        self._name = name

    def same(self, other: Token) -> bool:
        return hmac.compare_digest(self._digest, other._digest)

    def check(self, authorization: Sequence[bytes]) -> None:
        """Takes a request's Authorization headers (or metadata).

        Raises:
          UnauthorizedError: they are not the one with the token.
        """
        if not self.is_in(authorization):
            raise self.missing()

    def missing(self) -> UnauthorizedError:
        """Returns the refusal of a request that does not bring it."""
        return UnauthorizedError(
            f"Expected this server's {self._name}: the header 'Authorization: Bearer TOKEN', "
            "over gRPC the metadata 'authorization'."
        )

    def is_in(self, authorization: Sequence[bytes]) -> bool:
        """Returns whether they are the one with the token."""
        only = authorization[0] if len(authorization) == 1 else b""
        scheme, _, secret = only.partition(b" ")
        # Digests, so that the time it takes does not tell the length either.
        same = hmac.compare_digest(_digest(secret.strip(b" ")), self._digest)
        return scheme.lower() == b"bearer" and same


def is_one_in(tokens: Sequence[Token], authorization: Sequence[bytes]) -> bool:
    """Returns whether they hold one of the tokens; all are looked at, in a like time."""
    return sum(token.is_in(authorization) for token in tokens) > 0


def read_tokens(
    config: ServeConfig, environment: Mapping[str, str]
) -> tuple[Token | None, Token | None]:
    """Reads the token that a server asks for, and the control token; None: there is none.

    Raises:
      ConfigError: one cannot be used, or they contradict each other or the config.
    """
    token = _read("token", environment.get(ENVIRONMENT), ENVIRONMENT, config.auth)
    secret = environment.get(CONTROL_ENVIRONMENT)
    control = _read("control token", secret, CONTROL_ENVIRONMENT, config.auth)
    if control is not None and config.control:
        raise ConfigError(
            "control = true lets everyone load and unload, and there is a control token; leave "
            "one out."
        )
    if control is not None and token is not None and control.same(token):
        raise ConfigError(
            "The control token is the same as the token: whoever may ask for a prediction could "
            "unload the models. Take another, or say control = true instead."
        )
    return token, control


def _read(name: str, secret: str | None, variable: str, config: AuthConfig) -> Token | None:
    field = f"{name.replace(' ', '_')}_file"
    key, file = f"auth.{field}", getattr(config, field)
    if not file:
        return None if secret is None else Token(secret, variable, name)
    if secret is not None:
        raise ConfigError(f"Both {variable} and {key} are set; leave one out.")
    # Editors and `echo` end a file with a line end; bytes beyond ASCII are refused.
    text = read_named(key, file).decode("latin-1").removesuffix("\n").removesuffix("\r")
    return Token(text, f"{key}: {file}", name)


def read_named(key: str, file: str) -> bytes:
    """Raises ConfigError for a file of the config that cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError as e:
        raise ConfigError(f"{key}: {file} cannot be read: {e.strerror}.") from None


def refuse_plain_token(data: Mapping[str, Any]) -> None:
    """Raises ConfigError for a config with a token itself in it; does not quote it."""
    auth = data.get("auth", {})
    if not isinstance(auth, Mapping):
        raise ConfigError("auth: expected a table, [auth].")
    for key, variable in (("token", ENVIRONMENT), ("control_token", CONTROL_ENVIRONMENT)):
        if key in auth:
            raise ConfigError(
                f"auth.{key}: a token does not belong into a config, where others read it. Set "
                f"the environment variable {variable}, or name a file: auth.{key}_file."
            )


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
