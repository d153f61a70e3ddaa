"""What the benchmark needs before anything is timed: images, pushed models, peers' environments.

All of it is kept in one folder and made once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.process import telemetry

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).parent / "peers"
LITSERVE, MLSERVER = "litserve", "mlserver"
PINS = {
    LITSERVE: ("litserve==0.2.19", "uvloop==0.23.0"),
    # Its workers do not start with a newer uvloop.
    MLSERVER: ("mlserver==1.7.1", "uvloop==0.21.0"),
}
CLASSES = ("circles", "crosses", "squares")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the benchmark, and what it is asked."""

    name: str
    """In the serving folder."""
    framework: str
    architecture: str
    side: int
    """Pixels of a side of what the network sees."""
    width: int
    """Pixels of the JPEGs that are sent."""
    height: int


MODELS = (
    Model("small-cnn-keras", "keras", "small_cnn", 32, 32, 32),
    Model("small-cnn-pytorch", "pytorch", "small_cnn", 32, 32, 32),
    Model("mobilenet-keras", "keras", "MobileNetV2", 224, 320, 240),
    Model("mobilenet-pytorch", "pytorch", "mobilenetv3_small_100", 224, 320, 240),
)


def choose(names: Sequence[str]) -> list[Model]:
    """The models of these names; all where none is named."""
    known = {m.name: m for m in MODELS}
    if unknown := [n for n in names if n not in known]:
        raise SystemExit(f"No model {unknown[0]!r}. Known: {', '.join(known)}.")
    return [known[n] for n in names] or list(MODELS)


def pushed(cache: Path, models: Sequence[Model]) -> Path:
    """The serving folder with every model in it, each trained for one epoch by a pipeline."""
    serving = cache / "serving"
    for model in models:
        if (serving / model.name / "1").is_dir():
            continue
        say(f"Making {model.name} by a pipeline …")
        images = draw(cache / f"images-{model.side}", model.side, model.side)
        command = [sys.executable, "-P", "-m", "pipeline.cli.main", "run", "--data", str(images)]
        command += ["--framework", model.framework, "--model", model.architecture]
        command += ["--epochs", "1", "--batch-size", "8", "--image-size", str(model.side)]
        command += ["--min-accuracy", "0.01", "--name", model.name, "--serving", str(serving)]
        command += ["--output", str(cache / f"pipeline-{model.side}")]
        command += ["--set", f"pipeline=shapes-{model.side}"]
        command += ["--set", "data.splits={train = 0.5, val = 0.25, test = 0.25}"]
        log = cache / f"{model.name}.log"
        with log.open("w") as file:
            done = subprocess.run(command, env=environment(), stdout=file, stderr=file)
        if done.returncode or not (serving / model.name / "1").is_dir():
            raise SystemExit(f"{model.name} was not pushed; {log} says why.")
    return serving


def sent(cache: Path, model: Model, folder: Path | None) -> Path:
    """The folder of the JPEGs that are sent: the caller's, or drawn ones."""
    return folder or draw(cache / f"sent-{model.width}x{model.height}", model.width, model.height)


def draw(folder: Path, width: int, height: int, each: int = 24) -> Path:
    """JPEGs of noisy shapes on blurred colours, in a folder per shape; the same every time."""
    if folder.is_dir():
        return folder
    import numpy as np
    from PIL import Image, ImageDraw

    random = np.random.default_rng(0)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
    for shape in CLASSES:
        (partial / shape).mkdir(parents=True)
        for number in range(each):
            blurred = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
            image = blurred.resize((width, height), Image.Resampling.BICUBIC)
            pen, colour = ImageDraw.Draw(image), tuple(random.integers(0, 256, 3).tolist())
            if shape == "circles":
                pen.ellipse(box, fill=colour)
            elif shape == "squares":
                pen.rectangle(box, fill=colour)
            else:
                pen.line(box, fill=colour, width=3)
                pen.line((box[0], box[3], box[2], box[1]), fill=colour, width=3)
            noisy = np.asarray(image) + random.normal(0, 8, (height, width, 3))
            image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
            image.save(partial / shape / f"{number:03d}.jpg", quality=90)
    partial.rename(folder)
    return folder


def peer(cache: Path, name: str) -> Path:
    """The Python of a peer's own environment."""
    venv = cache / name
    python = venv / "bin" / "python"
    if (venv / "DONE").exists():
        return python
    say(f"Making an environment for {PINS[name][0]} …")
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    try:
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", "3.11", str(venv)], check=True
        )
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(python), *PINS[name],
             "-r", str(PEERS / "requirements.txt")],
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(
            f"The environment of {name} cannot be made ({e}); --no-peers does without."
        ) from None
    (venv / "DONE").touch()
    return python


def environment() -> dict[str, str]:
    return {**os.environ, **telemetry.OFF, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
