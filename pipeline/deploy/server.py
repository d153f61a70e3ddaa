"""The server's own config in a deployment: checked by its parser, rendered as arguments."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from common.config.ranges import require
from common.config.strict import parse
from common.config.toml_file import in_key
from serving.config import ServeConfig

MODELS = "/mnt/models"
HTTP, GRPC = 8501, 8500
_OWN = {
    "serving": "storage says what is served",
    "host": "a pod listens on all its addresses",
    "port": "the ports are fixed in the manifest",
    "grpc_port": "the ports are fixed in the manifest",
    "auth": "name a Secret, token_secret or control_token_secret",
}
TMP = "/tmp"
"""Where the server and its libraries put what they need for a moment."""
_TAKEN = {
    *("bin", "boot", "dev", "etc", "lib", "lib64", "mnt", "opt", "proc", "root", "run", "sbin"),
    *("sys", "usr"),
}
"""Folders of the image, and of what is mounted besides."""
_SECONDS = 10
"""More than `drain_seconds`, for the process to end."""


def server_config(server: Mapping[str, Any]) -> ServeConfig:
    """Returns what the server in the pod is told.

    Raises:
      ConfigError: it would not take it.
    """
    fixed = {"serving": MODELS, "host": "0.0.0.0", "port": HTTP, "grpc_port": GRPC}
    return parse(ServeConfig, {**server, **fixed}, "server.")


def check_server(server: Mapping[str, Any]) -> None:
    """Raises ConfigError for what a server would not take, or not in a pod."""
    for key in server:
        require(key not in _OWN, f"server.{key}: {_OWN.get(key)}; leave it out.")
    config = server_config(server)
    require(
        config.tls is None or not config.tls.client_ca,
        "server.tls.client_ca: Kubernetes' probes bring no certificate, so no pod would become "
        "ready; leave it out.",
    )


def writable_folders(config: ServeConfig) -> dict[str, str]:
    """Returns the folders that are mounted for what the server writes: a name of each."""
    names = {TMP: "tmp"}
    for key, _, folder in _written(config):
        if folder != TMP and not folder.startswith(f"{TMP}/"):
            names.setdefault(folder, key.partition(".")[0].replace("_", "-"))
    return names


def check_writable(config: ServeConfig) -> None:
    """Raises ConfigError for what the server would write where nothing can be mounted."""
    for key, path, folder in _written(config):
        require(
            _can_be_mounted(folder),
            f"server.{key}: expected a path in a folder of its own, which is mounted for it, such "
            f"as /var/log/visionline, or below {TMP}, got {path!r}: the container's own files are "
            "read-only (read_only_root).",
        )


def _can_be_mounted(folder: str) -> bool:
    root, *parts = folder.split("/")
    if root or not parts or {"", ".", ".."} & set(parts):
        return False
    plain = re.fullmatch(r"[A-Za-z0-9/._-]+", folder) is not None
    return parts[0] == "tmp" or (plain and parts[0] not in _TAKEN and parts != ["var"])


def _written(config: ServeConfig) -> Iterator[tuple[str, str, str]]:
    """Yields key, value and folder of what the server is told to write."""
    if config.request_log is not None:
        folder = config.request_log.folder
        yield "request_log.folder", folder, folder.rstrip("/")
    if config.log.file:
        yield "log.file", config.log.file, posixpath.dirname(config.log.file)


def check_models(config: ServeConfig, service: str) -> None:
    """Raises ConfigError for settings of models that a pod does not hold."""
    for name in config.models:
        require(
            name == service,
            f"server.models.{name}: the pod serves {service!r} alone; say server.default or "
            f"server.models.{service}.",
        )


def arguments(server: Mapping[str, Any], cpus: Any) -> list[str]:
    """Returns the arguments of `python -m serving`.

    Args:
      cpus: that the pod may use.
    """
    words = [MODELS, "--host", "0.0.0.0", "--port", str(HTTP), "--grpc-port", str(GRPC)]
    words += ["--threads", str(server.get("threads") or math.ceil(cpus))]
    for key, value in _flat(server):
        if key != "threads":
            word = f"{key}={json.dumps(value, ensure_ascii=False)}"
            # Kubernetes would put variables in the place of $(NAME).
            words += ["--set", word.replace("$", "$$")]
    return words


def grace_seconds(config: ServeConfig, pre_stop: int) -> int:
    """Returns how long a pod may take to end: the wait before SIGTERM, the drain, and some more."""
    return pre_stop + math.ceil(config.drain_seconds) + _SECONDS


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{in_key(key)}.")
        else:
            yield f"{prefix}{in_key(key)}", value
