"""The server as a child process, over a serving folder of its own.

It watches an empty folder, as one may in production, and loads what comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from common.errors import RunError
from common.process.children import start
from common.process.timed_log import timed_logs, without_times
from components.infra_validation.report import NotBlessedError

HOST = "127.0.0.1"
_HTTP = re.compile(rf"http://{re.escape(HOST)}:(\d+)/")
_GRPC = re.compile(rf"^\s*{re.escape(HOST)}:(\d+)\s+\(gRPC\)", re.MULTILINE)
_POLL_SECONDS = 0.05
_TAIL = 1500
"""Characters of the log that a reason has."""


class ServerProcess:
    """`python -m serving` on free ports of the loopback, which ends with this process.

    Args:
      root: a folder of its own; what a killed run left there is removed.
      threads: of its engines.
    """

    def __init__(self, root: Path, threads: int) -> None:
        self.root, self.threads = root, threads
        self.log, self.serving = root / "log.txt", root / "serving"
        shutil.rmtree(root, ignore_errors=True)
        self.serving.mkdir(parents=True)
        # A line per request would push what matters out of sight.
        config = root / "config.toml"
        config.write_text("[log]\naccess = false\n", encoding="utf-8")
        command = [sys.executable, "-P", "-m", "serving", str(self.serving), "--host", HOST]
        command += ["--port", "0", "--grpc-port", "0", "--threads", str(threads)]
        command += ["--config", str(config)]
        with contextlib.ExitStack() as stack:
            (out,) = stack.enter_context(timed_logs([self.log]))
            self.process = start(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_environment(),
                start_new_session=True,  # Ctrl-C reaches it through us alone
            )
            self._logging = stack.pop_all()
        self._ports: tuple[int, int] | None = None

    def ports(self, deadline: float) -> tuple[int, int]:
        """Returns those of HTTP and gRPC, once it listens.

        Args:
          deadline: on `time.monotonic`'s clock.

        Raises:
          RunError: it ended, or does not listen in time.
        """
        while self._ports is None:
            text = self.printed()
            http, grpc = _HTTP.search(text), _GRPC.search(text)
            if http and grpc:
                self._ports = (int(http[1]), int(grpc[1]))
                break
            self.check("before it listened")
            self._wait(deadline, "it did not listen")
        return self._ports

    def wait_until_loaded(self, name: str, version: int, deadline: float) -> None:
        """Returns once a version answers.

        Raises:
          NotBlessedError: the server says that it cannot be served.
          RunError: the server ended, or nothing was heard of the version in time.
        """
        while True:
            state, error = self._state(name, version, deadline)
            if error:
                raise NotBlessedError(f"the server cannot serve it: {error}")
            if state == "AVAILABLE":
                return
            self.check("while it loaded the model")
            self._wait(deadline, f"the model was not ready ({state or 'not yet seen'})")

    def check(self, when: str) -> None:
        """Raises RunError if it has ended."""
        code = self.process.poll()
        if code is None:
            return
        self._logging.close()  # its last words are in the log then
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise RunError(self.say(f"the server {how} {when}"))

    def say(self, reason: str) -> str:
        """Says what went wrong, with the last that it printed."""
        tail = self.printed()[-_TAIL:].strip()
        return f"The model could not be tried: {reason}." + (f" Its log ends:\n{tail}" * bool(tail))

    def printed(self) -> str:
        return without_times(self.log.read_text(encoding="utf-8", errors="replace"))

    def close(self) -> None:
        """Ends it at once, and removes its folder: nothing that it holds is needed any more."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._logging.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _state(self, name: str, version: int, deadline: float) -> tuple[str, str]:
        """Returns a version's state as TensorFlow Serving names it, and why it failed."""
        port, _ = self.ports(deadline)
        try:
            status, body = get(port, f"/v1/models/{name}/versions/{version}", 5.0)
            (slot,) = json.loads(body)["model_version_status"] if status == 200 else (None,)
        except (OSError, HTTPException, ValueError, KeyError):
            return "no answer", ""
        if slot is None:
            return "", ""
        return str(slot["state"]), str(slot["status"]["error_message"])

    def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise RunError(
                self.say(f"{what} in time; infra_validation.timeout_seconds gives it longer")
            )
        time.sleep(_POLL_SECONDS)


def _environment() -> dict[str, str]:
    """Returns this process's, without a server's settings for others, such as its token."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VISIONLINE_SERVE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def get(port: int, path: str, timeout: float) -> tuple[int, bytes]:
    """Returns status and body; no proxy that the environment names is asked."""
    connection = HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
