"""The API of Kubeflow Pipelines: where it is, who asks, and what its refusals say.

Its own client sends what is submitted.  What is only looked at is asked for here, with a
limit of time and without that client's retries and warnings.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import os
import re
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RunError, VisionlineError
from common.extras import require_kubeflow

_SECONDS = 10.0
_CHUNK = 1 << 16
_HEALTH = "/apis/v2beta1/healthz"
_HEAD, _TAIL = 200, 400
"""Characters of a long refusal; the reason itself comes last, after who passed it on."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A token or a cookie: from a file or a variable, since others see a command line."""

    name: str
    variable: str
    file: Path | None = None

    def read(self) -> str | None:
        """Returns the secret as it is now, since a cluster renews its tokens; None: there is none.

        Raises:
          ConfigError: it cannot be read, or is none; the error does not quote it.
        """
        source, text = str(self.file or self.variable), os.environ.get(self.variable, "")
        if self.file is not None:
            try:
                text = self.file.read_text(encoding="utf-8")
            except OSError as e:
                reason = f"Cannot read the {self.name} in {source}: {e.strerror}."
                raise ConfigError(reason) from None
            except UnicodeDecodeError:
                reason = f"{source}: expected a {self.name}, got what is no text."
                raise ConfigError(reason) from None
        text = text.strip()
        if not all(" " <= character <= "~" for character in text):
            raise ConfigError(f"{source}: expected a {self.name} on one line of ASCII characters.")
        if self.file is not None and not text:
            raise ConfigError(f"{source}: expected a {self.name}, got an empty file.")
        return text or None


TOKEN, COOKIE = Secret("token", "KFP_TOKEN"), Secret("cookie", "KFP_COOKIE")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came back with, whatever its status."""

    status: int
    reason: str
    content_type: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def table(self) -> dict[str, Any] | None:
        """The JSON object that it is; None: it is none, or a refusal."""
        try:
            table = json.loads(self.body) if self.status == 200 else None
        except ValueError:
            return None
        return table if isinstance(table, dict) else None

    @property
    def refusal(self) -> str:
        return _refusal(self.status, self.reason, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An installation, as one of its users sees it."""

    endpoint: str
    """URL, such as http://localhost:8888."""
    namespace: str | None = None
    """Of the user, where there are several."""
    token: Secret = TOKEN
    cookie: Secret = COOKIE

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/]", self.endpoint):
            raise ConfigError(f"--endpoint: expected http://… or https://…, got {self.endpoint!r}.")
        object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))

    def ask(self, path: str, last: int | None = None) -> Answer:
        """Sends a GET.

        Args:
          last: how many bytes of the answer are wanted, from its end; None: all.

        Raises:
          OSError: there is no answer.
          ConfigError: the token or the cookie cannot be read.
        """
        token, cookie = self.token.read(), self.cookie.read()
        request = urllib.request.Request(self.endpoint + path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if cookie:
            request.add_header("Cookie", cookie)
        try:
            with _opened(request) as response:
                body = b""
                while chunk := response.read(_CHUNK):
                    body = (body + chunk)[-last:] if last else body + chunk
                kind = response.headers.get_content_type()
                return Answer(response.status, response.reason or "", kind, body)
        except http.client.BadStatusLine:
            raise OSError("what is there does not speak HTTP") from None
        except (http.client.HTTPException, ValueError) as e:  # broken off; no URL
            raise OSError(str(e) or type(e).__name__) from None

    def reach(self) -> None:
        """Asks for the API's health; its client would try for a minute.

        Raises:
          RunError: it does not answer, or something else does.
          ConfigError: there are several users, and no namespace was named.
        """
        try:
            answer = self.ask(_HEALTH)
        except OSError as e:
            raise self._unreached(str(getattr(e, "reason", e))) from None
        if answer.status in (301, 302, 303, 307, 308, 401, 403):
            raise RunError(
                f"{self.endpoint} asks who you are: {answer.refusal}. Nothing was submitted. "
                f"Expected a token, {TOKEN.variable} or --token-file, or the cookie of a "
                f"session, {COOKIE.variable} or --cookie-file."
            )
        if answer.status != 200:
            raise self._unreached(f"it answered {_HEALTH} with {answer.refusal}")
        if answer.table is None:
            raise self._unreached(f"it answered {_HEALTH} with {answer.content_type}, not JSON")
        if answer.table.get("multi_user") is True and not self.namespace:
            raise ConfigError(
                f"{self.endpoint} has several users: expected --namespace, the name of your own. "
                "Nothing was submitted."
            )

    def serves_ui(self) -> bool:
        """Returns whether the UI is at the same URL; the API's own port has none."""
        try:
            answer = self.ask("/")
        except OSError:
            return False
        return answer.status == 200 and answer.content_type == "text/html"

    @contextlib.contextmanager
    def client(self, failed: str) -> Iterator[Any]:
        """Kubeflow's own client, silent.

        Args:
          failed: what the endpoint did if anything within raises, such as "did not start
            the run".

        Raises:
          RunError: it did that; with the reason.
        """
        try:
            require_kubeflow()
            with _silence():
                import kfp

                yield kfp.Client(
                    host=self.endpoint,
                    namespace=self.namespace or "kubeflow",  # its default
                    existing_token=self.token.read(),
                    cookies=self.cookie.read(),
                    ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),  # as `ask` does
                )
        except VisionlineError:
            raise
        except Exception as e:  # the client's own, urllib3's, and what a proxy answers
            raise RunError(f"{self.endpoint} {failed}: {_reason(e)}") from None

    def _unreached(self, reason: str) -> RunError:
        return RunError(
            f"Kubeflow Pipelines does not answer at {self.endpoint}: {reason}. Nothing was "
            "submitted. Expected the URL of its API, such as that of "
            "`kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888`."
        )


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it leads to a login, and would take the token along."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _opened(request: urllib.request.Request) -> Any:
    """Returns the answer, whatever its status; without a proxy, as Kubeflow's own client asks."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        return opener.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as e:
        return e


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Kubeflow's client prints links for notebooks, warns of old servers and logs retries."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    """Says why a request of Kubeflow's client failed, in a line."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        body = getattr(error, "body", None) or ""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        return _refusal(status, str(getattr(error, "reason", "") or ""), text)
    cause = getattr(error, "reason", None) or error
    return _short(str(cause)) or type(error).__name__


def _refusal(status: int, reason: str, body: str) -> str:
    """Returns what an answer that is no success says, with its status."""
    try:
        content = json.loads(body)
    except ValueError:
        content = _page(body)
    if isinstance(content, dict):
        names = ("message", "error", "error_message", "error_description")
        content = next(
            (content[n] for n in names if isinstance(content.get(n), str) and content[n]), ""
        )
    message = _short(content if isinstance(content, str) else body) or _short(reason)
    return f"{message} (status {status})" if message else f"status {status}"


def _page(body: str) -> str:
    """Returns the title of a web page, such as a proxy's; other text as it is."""
    if not re.search(r"<(!doctype|html|head|body)\b", body[:1000], re.I):
        return body
    title = re.search(r"<(title|h1)\b[^>]*>(.*?)</\1>", body, re.I | re.S)
    named = f" {' '.join(title[2].split())!r}" if title else ""
    return f"a web page{named}, not the API's JSON"


def plain(text: str) -> str:
    """Returns what others wrote without what would steer a terminal."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(message: object) -> str:
    """Returns a message of others as one line."""
    return " ".join(plain(str(message or "")).split())


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _HEAD + _TAIL else f"{line[:_HEAD]} … {line[-_TAIL:]}"
