"""`visionline demo`: the whole job on real images that need no download.

The 1,797 handwritten digits that scikit-learn ships (8 × 8 pixels, scanned at
NIST; Alpaydin and Kaynak, 1998), written out as class folders of PNG files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.files import write_json
from pipeline.config import PipelineConfig, load_config
from pipeline.run.closing import print_outcome
from pipeline.run.display import make_display
from pipeline.run.session import run_pipelines
from trainers.frameworks import frameworks

MODEL = "small_cnn"
KEPT_PER_CLASS = 5
SHOWN = 5


def run_demo(output: Path, console: Console) -> int:
    """Runs the demo; returns the exit code.

    Args:
      output: everything is made below it, the summary in `summary.json`.
    """
    began = time.monotonic()
    images, kept = output / "images", output / "kept-aside"
    able = [f.name for f in frameworks().values() if f.is_installed() and MODEL in f.model_names()]
    if not able:
        next(iter(frameworks().values())).require_installed()
    configs = [demo_config(output, images, name) for name in able]
    for config in configs:
        config.check_folders()
    if not (kept / "DONE").exists():
        # scikit-learn is heavy; this process stays light.
        code = "import sys, pathlib; from pipeline.demo import write_digits; "
        code += "write_digits(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(output)], check=True)
    finished = run_pipelines(configs, make_display(console))
    for run in finished:
        if run.state != "complete" or not run.summary["blessed"]:
            return print_outcome(run, console)
    runs = [f.summary for f in finished]
    shown = sorted(kept.glob("*.png"))[:: KEPT_PER_CLASS * 10 // SHOWN]
    for summary in runs:
        summary["predictions"] = _predict(Path(summary["where"]), shown)
    _print_predictions(console, runs, shown)
    _print_table(console, runs)
    total = time.monotonic() - began
    write_json(output / "summary.json", {"runs": runs, "seconds": total})
    name = runs[0]["name"]
    console.print(
        f"\nThe same is in {output / 'summary.json'}; {total:.0f} seconds in all. Next:\n"
        f"  .venv/bin/visionline versions --serving {output / 'serving'}\n"
        f"  .venv/bin/visionline predict {shown[0]} --serving {output / 'serving'} --name {name}\n"
        f"  .venv/bin/visionline run --data YOUR_IMAGES --framework pytorch --model resnet18"
        " --image-size 224 --epochs 5 --min-accuracy 0.8",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0


def demo_config(output: Path, images: Path, framework: str) -> PipelineConfig:
    """Returns the same config for every framework, so that the data steps are shared."""
    return load_config(
        None,
        {
            "name": f"digits-{framework}",
            "pipeline": "digits",
            "data.path": str(images),
            "transform.image_size": 16,
            "train.framework": framework,
            "train.model": MODEL,
            "train.epochs": 20,
            "train.batch_size": 64,
            "train.learning_rate": 5e-3,
            "train.augment.horizontal_flip": False,
            "train.augment.rotation": 8.0,
            "train.augment.zoom": 0.1,
            "evaluate.min_accuracy": 0.95,
            "run.output": str(output / "pipeline"),
            "push.destination": str(output / "serving"),
        },
    )


def write_digits(output: Path) -> None:
    """Writes `images/CLASS/NNNN.png` and `kept-aside/CLASS-NNNN.png`."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    for folder in ("images", "kept-aside"):
        shutil.rmtree(output / folder, ignore_errors=True)
    (output / "kept-aside").mkdir(parents=True)
    digits = load_digits()
    kept = dict.fromkeys(range(10), 0)
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        # 17 grey levels, dark ink on light paper.
        image = Image.fromarray(np.round(pixels * (255 / 16)).astype(np.uint8))
        if kept[label] < KEPT_PER_CLASS:
            kept[label] += 1
            path = output / "kept-aside" / f"{label}-{index:04d}.png"
        else:
            path = output / "images" / str(label) / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (output / "kept-aside" / "DONE").touch()


def _predict(version: Path, images: list[Path]) -> list[dict[str, Any]]:
    """Classifies images with a pushed version, as `visionline predict` does."""
    command = [sys.executable, "-m", "pipeline.cli.main", "predict", *map(str, images), "--json"]
    command += ["--serving", str(version.parent.parent), "--name", version.parent.name]
    command += ["--version", version.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    predictions: list[dict[str, Any]] = json.loads(done.stdout)
    return predictions


def _print_predictions(console: Console, runs: list[dict[str, Any]], images: list[Path]) -> None:
    table = Table(title="Kept-aside images", title_justify="left", box=None, header_style="bold")
    table.add_column("image")
    for run in runs:
        table.add_column(f"{run['name']} v{run['version']}")
    for index, image in enumerate(images):
        predictions = [run["predictions"][index] for run in runs]
        table.add_row(
            image.name, *(f"{p['labels'][0]} ({p['scores'][0]:.3f})" for p in predictions)
        )
    console.print(table)


def _print_table(console: Console, runs: list[dict[str, Any]]) -> None:
    table = Table(title="\nResult", title_justify="left", box=None, header_style="bold")
    for column in ("framework", "model", "accuracy", "blessed", "version", "where", "time"):
        table.add_column(column, overflow="fold")
    for run in runs:
        table.add_row(
            run["framework"],
            run["model"],
            f"{run['accuracy']:.4f}",
            "yes" if run["blessed"] else "no",
            str(run["version"]),
            run["where"],
            f"{run['seconds']:.0f} s",
        )
    console.print(table)
