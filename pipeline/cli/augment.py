"""`visionline augment`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from common.config import strict, toml_file
from common.config.flags import ConfigOption, SetOption
from common.errors import ConfigError, RunError
from common.files import write_atomic
from pipeline.augment_sheet import read_images, sheet
from pipeline.config import TransformConfig
from pipeline.terminal import console, sayer
from trainers.config import AugmentConfig


def augment(
    path: Annotated[Path, typer.Argument(help="Name an image, or a folder: its first eight.")],
    out: Annotated[Path, typer.Option(help="Write this PNG.")],
    config: ConfigOption = None,
    setting: SetOption = None,
    count: Annotated[int, typer.Option(min=1, max=32, help="Draw so many changes of each.")] = 6,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draw other changes.")] = 0,
) -> None:
    """Show what augmentation does to images: each beside what a training might see."""
    recipe, transform = _configs(config, toml_file.settings(setting))
    _check_out(out, path)
    images_NHW3 = read_images(path, transform)
    if len(images_NHW3) == 1 and (recipe.mixup or recipe.cutmix):
        raise ConfigError(
            "train.augment.mixup and cutmix: expected a folder of two or more images, got one, "
            "which can be mixed with no other."
        )
    picture = sheet(images_NHW3, recipe, count=count, seed=seed)
    try:
        write_atomic(out, picture)
    except OSError as e:
        raise RunError(f"--out: cannot write '{out}': {e.strerror}. Name another file.") from None
    sayer(console())(f"Original and {count} draws, a row for each image: {out}", "green")


def _configs(
    file: Path | None, settings: Mapping[str, Any]
) -> tuple[AugmentConfig, TransformConfig]:
    for key in settings:
        if not key.startswith(("train.augment.", "transform.")):
            raise ConfigError(
                "--set: expected a key of [train.augment] or [transform], such as "
                f"train.augment.rotation, got {key!r}."
            )
    tables = toml_file.read(file)
    toml_file.overlay(tables, settings)
    train = tables.get("train", {})
    recipe = train.get("augment", {}) if isinstance(train, Mapping) else train
    return (
        strict.parse(AugmentConfig, recipe, "train.augment."),
        strict.parse(TransformConfig, tables.get("transform", {}), "transform."),
    )


def _check_out(out: Path, path: Path) -> None:
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out: expected the name of a .png file, got '{out}'.")
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"--out: expected a file in a folder that is there, got '{out}'.")
    if out.resolve().is_relative_to(path.resolve()):
        raise ConfigError(f"--out: expected a file outside of the images, got '{out}'.")
