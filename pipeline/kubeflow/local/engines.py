"""Runs a task's command: as a process, or in its image."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import ConfigError
from common.mounts import ABOVE_VARIABLE, MOUNTS
from common.process import warden
from common.process.children import inherited
from common.process.timed_log import timed_logs

Name = Literal["subprocess", "podman", "docker"]
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    image: str
    words: tuple[str, ...]
    env: Mapping[str, str]
    root: Path
    """What the task has to itself: the mounts of the object stores are folders of it."""


class Subprocess:
    """A process of this machine with this Python, whatever the image.

    Args:
      volumes: claims by where the spec mounts them; those places must be there.
    """

    def __init__(self, volumes: Mapping[str, str]) -> None:
        for mount in volumes:
            if not Path(mount).is_dir():
                raise ConfigError(
                    f"The pipeline expects a volume at {mount}, and there is no such folder. "
                    "Make it, or run the tasks in containers: --engine podman --volume …"
                )

    def run(self, command: Command, log: Path) -> int:
        """Runs a command to its end; what it prints goes to `log`.

        Returns:
          Its exit code, or minus the signal that ended it.
        """
        words = list(command.words)
        if words[0] in ("python", "python3"):
            words[0] = sys.executable
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        env = {
            "TF_CPP_MIN_LOG_LEVEL": "1",
            **os.environ,
            **command.env,
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "PYTHONUNBUFFERED": "1",
            ABOVE_VARIABLE: str(command.root),
        }
        return _wait(words, log, env)


class Container:
    """The task's image, by podman or docker.

    Args:
      program: "podman" or "docker".
      folder: that the tasks' roots lie below.
      volumes: folders of this machine by where the spec mounts them.
    """

    def __init__(self, program: str, folder: Path, volumes: Mapping[str, str]) -> None:
        if shutil.which(program) is None:
            raise ConfigError(f"--engine {program}: there is no command {program!r} here.")
        for place in (str(folder), *volumes.values()):
            if ":" in place:
                raise ConfigError(
                    f"--engine {program}: it takes the ':' in {place!r} for the end of the "
                    "folder's name. Choose a folder without ':'."
                )
        self._program = program
        self._volumes = {folder: mount for mount, folder in volumes.items()}

    def run(self, command: Command, log: Path) -> int:
        """Runs a command, see `Subprocess.run`."""
        name = f"visionline-{uuid.uuid4().hex[:12]}"
        podman = self._program == "podman"
        # crun, podman's own choice, fails on some hosts.
        runtime = ["--runtime", "runc"] if podman and shutil.which("runc") else []
        words = [self._program, *runtime, "run", "--rm", "--name", name, "--network", "host"]
        words += _limits()
        if podman:
            words += ["--umask", "0000"]  # Argo's; docker has no word for it
            words += ["--userns", "keep-id"] if os.geteuid() != 0 else []
        words += ["--user", f"{os.geteuid()}:{os.getegid()}"]  # ours, since the folders are
        mounts = {str(command.root): str(command.root)}
        for mount in MOUNTS.values():
            folder = command.root / mount.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            mounts[str(folder)] = mount.rstrip("/")
        for source, target in (mounts | self._volumes).items():
            words += ["-v", f"{source}:{target}"]
        for key, value in command.env.items():
            words += ["-e", f"{key}={value}"]
        first, *rest = command.words
        words += ["--entrypoint", first, command.image, *rest]
        # What ends the client need not end the container.
        return _wait(words, log, dict(os.environ), cleanup=[self._program, "kill", name])


Engine = Subprocess | Container
_MOST = 32768


def _limits() -> list[str]:
    """Returns limits: what engines ask for by themselves may be above the host's, and refused."""
    words = []
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        _, hard = resource.getrlimit(number)
        most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
        words += ["--ulimit", f"{name}={most}:{most}"]
    return words


def make_engine(
    name: Name, folder: Path, mounts: Mapping[str, str], volumes: Sequence[str]
) -> Engine:
    """Returns the engine of a name.

    Args:
      folder: of the run; what its tasks have to themselves lies below.
      mounts: claims by where the spec mounts them.
      volumes: CLAIM=FOLDER, the folders that stand for claims.

    Raises:
      ConfigError: it cannot be used here, or a volume's folder is missing.
    """
    folders = {}
    for text in volumes:
        claim, equals, place = text.partition("=")
        if not equals or claim not in mounts.values():
            claims = ", ".join(sorted(set(mounts.values()))) or "none"
            raise ConfigError(
                f"--volume: expected CLAIM=FOLDER with a claim of {claims}, got {text!r}."
            )
        if not Path(place).is_dir():
            raise ConfigError(f"--volume: there is no folder {place!r}.")
        folders[claim] = str(Path(place).absolute())
    if name == "subprocess":
        if folders:
            raise ConfigError("--volume is for containers; processes see this machine's folders.")
        return Subprocess(mounts)
    missing = sorted(set(mounts.values()) - folders.keys())
    if missing:
        raise ConfigError(
            f"Which folder stands for the volume {missing[0]}? --volume {missing[0]}=FOLDER"
        )
    return Container(name, folder, {mount: folders[claim] for mount, claim in mounts.items()})


def _wait(
    words: Sequence[str], log: Path, env: Mapping[str, str], cleanup: Sequence[str] = ()
) -> int:
    """Runs a process of which nothing is left when it or we have ended."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with timed_logs([log]) as (out,):
        child = warden.start(
            words,
            cleanup=cleanup,
            stdout=out,
            stderr=out,
            env=dict(env),
            umask=0,  # as Argo does
            pass_fds=inherited(),
        )
        try:
            return child.wait()
        finally:
            child.stop()
