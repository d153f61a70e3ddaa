"""Which data a config means, and what identifies it; needs no TFX."""

from __future__ import annotations

import atexit
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.record.record import names_of
from common.record.steps import Data
from components.example_gen import spans
from components.example_gen.config import DataConfig, from_json
from components.example_gen.digest import Digests, fingerprint
from components.example_gen.records import Notes, Source
from components.example_gen.seen import Seen
from components.example_gen.source import list_source
from components.example_gen.spool import Spool, remove_spools, told_if_full

RESOLVED_PATH, SPAN, VERSION, FINGERPRINT = names_of(
    Data.resolved_path, Data.span, Data.version, Data.input_fingerprint
)
"""As `tfx.components.example_gen.utils` names them."""


def place_of(config: DataConfig) -> dict[str, Any]:
    """Returns the execution properties that say where the data is; raises DataError."""
    place = spans.resolve(config.path, config.span, config.version)
    version = {} if place.version is None else {VERSION: place.version}
    return {RESOLVED_PATH: place.path, SPAN: place.span, **version}


def resolve(config_json: str) -> dict[str, Any]:
    """Returns the execution properties that depend on the data; reads every file.

    Raises:
      DataError: the data is missing or cannot be listed.
    """
    config = from_json(config_json)
    place = place_of(config)
    return place | {FINGERPRINT: fingerprint(list_source(config, place[RESOLVED_PATH]))}


def resolve_once(config_json: str, folder: Path, seen: Path, *, gathers: bool) -> dict[str, Any]:
    """Returns what `resolve` does, and reads as little as can be.

    Where nothing is known of the files yet, the step can hardly be in the cache.  So what must be
    read to identify it is ingested with the same reading.

    Args:
      folder: where what was gathered is left, see `Gathered.found`.
      seen: the file of `Seen`s.
      gathers: whether to.
    """
    config = from_json(config_json)
    place = place_of(config)
    source = list_source(config, place[RESOLVED_PATH])
    known = Seen(seen)
    if gathers and known.is_new:
        identified = _gathered(source, config, folder, known)
    else:
        identified = fingerprint(source, known)
    known.write()
    return place | {FINGERPRINT: identified}


def _gathered(source: Source, config: DataConfig, folder: Path, known: Seen) -> str:
    from components.example_gen.gather import gather

    digests = Digests()

    def note(notes: Notes) -> None:
        digests.add(notes.read)
        known.keep(notes.seen)

    spool = Spool.new(folder, source, config.splits)
    atexit.register(_clean_up, folder)  # where the step is in the cache all the same
    with told_if_full(folder):
        spool.finish(source, gather(source, config, spool, note))
    return digests.of_all()


def _clean_up(folder: Path) -> None:
    remove_spools(folder)
    with suppress(OSError):  # there is something in it, or nothing at all
        folder.rmdir()
