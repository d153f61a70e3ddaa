"""`visionline serve`, and `python -m serving` where there is no pipeline."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from common.config import toml_file
from common.config.flags import ConfigOption, SetOption, config_flags
from common.config.strict import parse
from common.errors import ConfigError, VisionlineError
from common.process.endings import end_when_told
from serving.auth import refuse_plain_token
from serving.config import ServeConfig

if TYPE_CHECKING:
    from serving.models.repository import Repository

_LOOK_SECONDS = 0.1
_SWITCH_SECONDS = 0.001
"""For which a thread keeps Python's lock while others wait for it; by default five times as
long, and the event loop takes the lock several times for an answer."""

FLAGS = {
    "host": "host",
    "port": "port",
    "grpc_port": "grpc_port",
    "engine": "default.engine",
    "max_batch": "default.batching.max_batch",
    "max_delay_ms": "default.batching.max_delay_ms",
    "threads": "threads",
}
"""The keys of the config by the flags that stand for them."""


@config_flags(ServeConfig, FLAGS)
def serve(
    serving: Annotated[
        str | None, typer.Argument(help="Serve the models that are pushed to this folder.")
    ] = None,
    *,
    config: ConfigOption = None,
    overrides: dict[str, Any],
    setting: SetOption = None,
) -> None:
    """Serve the pushed models over REST and gRPC, and a page to try them."""
    if serving is not None:
        overrides["serving"] = serving
    loaded = load_config(config, overrides | toml_file.settings(setting))
    from serving.auth import ENVIRONMENT, is_loopback, read_tokens
    from serving.models.folder import check_folder
    from serving.ports import take_ports
    from serving.tls import read_tls

    nothing_yet = check_folder(Path(loaded.serving))
    token, control_token = read_tokens(loaded, os.environ)
    if token is None and not is_loopback(loaded.host):
        use = "use, load and unload" if loaded.control else "use"
        typer.echo(
            f"Warning: on {loaded.host} anyone who reaches this machine may {use} the models. "
            f"Set a token, {ENVIRONMENT} or auth.token_file.",
            err=True,
        )
    tls = read_tls(loaded.tls) if loaded.tls else None
    ports = take_ports(loaded)  # before the imports, which take seconds
    typer.echo(nothing_yet or f"Loading the models of {loaded.serving} …", err=True)
    start_lean()
    sys.setswitchinterval(_SWITCH_SECONDS)
    from serving.server import Address, Server

    def listening(at: Address) -> None:
        host = f"[{at.host}]" if ":" in at.host else at.host
        scheme = "https" if tls else "http"
        typer.echo(f"Serving {loaded.serving}")
        typer.echo(f"  {scheme}://{host}:{at.port}/   (page, REST)")
        typer.echo(f"  {host}:{at.grpc_port}   (gRPC)")
        sys.stdout.flush()
        here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        header = f'-H "Authorization: Bearer ${ENVIRONMENT}" ' if token else ""
        sample = (
            f"curl {header}--data-binary @photo.jpg '{scheme}://{here}:{at.port}/predict?model="
        )
        threading.Thread(target=_tell, args=(server.repository, sample), daemon=True).start()

    code = 0
    try:
        server = Server(loaded, token, tls, control_token, ports)
        server.run(listening)
    except KeyboardInterrupt:
        code = 130
    except VisionlineError as e:
        typer.echo(f"visionline: {e}", err=True)
        code = e.exit_code
    except Exception:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):  # nobody reads
        sys.stdout.flush()
        sys.stderr.flush()
    # All is answered and closed.  Python's own end would cut the engines' threads short,
    # which aborts the process.
    os._exit(code)


def _tell(repository: Repository, sample: str) -> None:
    """Says once what became of the models, as soon as that is known.

    Args:
      sample: a line for a shell that asks for a prediction, up to the model's name.
    """
    while (readiness := repository.readiness()).word == "loading":
        time.sleep(_LOOK_SECONDS)
    with contextlib.suppress(OSError):
        if readiness.answering:
            typer.echo(f"Ready: {', '.join(readiness.answering)}")
            name, _, _ = readiness.answering[0].rpartition(" ")
            typer.echo(f"  {sample}{quote(name)}'")
        for line in readiness.lines:
            typer.echo(f"  {line}")
        sys.stdout.flush()


def start_lean() -> None:
    """Imports TensorFlow, without what it only asks for, and without its messages."""
    from common.process import lean_imports
    from common.process.cpus import size_pools
    from common.process.quiet import quiet_stderr

    size_pools()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    lean_imports.install(lean_imports.SERVER)
    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, and says where there are none


def load_config(path: Path | None, overrides: dict[str, Any]) -> ServeConfig:
    """Reads a TOML file and lays flags over it.

    Raises:
      ConfigError: for anything that cannot be used.
    """
    data = toml_file.read(path)
    refuse_plain_token(data)
    toml_file.overlay(data, overrides)
    if "serving" not in data:
        folders = sorted(p for p in Path.cwd().glob("visionline-runs/*/serving") if p.is_dir())
        if len(folders) != 1:
            raise ConfigError("Which serving folder? Name it: visionline serve FOLDER.")
        data["serving"] = str(folders[0])
    return parse(ServeConfig, data)


def main() -> None:
    """`python -m serving`: errors for people, exit codes for scripts."""
    end_when_told()
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(serve)
    try:
        app(prog_name="python -m serving")
    except VisionlineError as e:
        typer.echo(f"serving: {e}", err=True)
        sys.exit(e.exit_code)
