"""`--set KEY=VALUE`; read by `common.config.toml_file.settings`."""

from __future__ import annotations

from typing import Annotated

import typer

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any config key, such as train.augment.rotation=10."),
]
