"""Reads, checks and writes the images: the executor of ImageExampleGen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from absl import logging
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from common.errors import DataError
from common.process.progress import emit
from common.record.artifacts import Examples
from common.record.record import annotate, name_of
from common.record.steps import Data
from components import details
from components.example_gen.config import from_json
from components.example_gen.driver import BEAM, CONFIG, ENGINE, EXAMPLES
from components.example_gen.gather import gather
from components.example_gen.image_index import IMAGES_FILE, to_lines
from components.example_gen.report import QUARANTINE_FILE, REPORT_FILE, Outcome, conclude
from components.example_gen.resolve import FINGERPRINT, RESOLVED_PATH, SPAN, VERSION, place_of
from components.example_gen.source import list_source
from components.example_gen.spool import Gathered, Spool, remove_spools, settle, told_if_full
from components.executor_io import Artifacts, Properties, one, split

REPORT = "report"


class Executor(base_beam_executor.BaseBeamExecutor):
    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Ingests the images.

        Raises:
          DataError: what is wrong with the images.
          RunError: the disk is full.
        """
        examples = one(output_dict, EXAMPLES)
        report = one(output_dict, REPORT)
        config = from_json(exec_properties[CONFIG])
        if RESOLVED_PATH not in exec_properties:  # an orchestrator that runs no drivers
            exec_properties |= place_of(config)
        examples.split_names = artifact_utils.encode_split_names(list(config.split_names))
        folder = Path(examples.uri)
        try:
            with told_if_full(folder):
                gathered = Gathered.found(folder) or self._gather(exec_properties, folder)
                notes, scratch = gathered.notes(), gathered.spool.path
                outcome = conclude(gathered.source, config, notes, scratch)
                read = outcome.fingerprint
                if read != exec_properties.setdefault(FINGERPRINT, read):
                    path = exec_properties[RESOLVED_PATH]
                    raise DataError(f"{path} changed while it was being read; run again.")
                _write_report(report.uri, outcome, exec_properties)
                folders = {s: split(output_dict, EXAMPLES, s) for s in config.split_names}
                settle(gathered.spool, gathered.bundles, outcome.plan, folders)
        finally:
            remove_spools(folder)
        contents = outcome.report
        for notice in contents["notices"]:
            emit({"kind": "note", "text": notice})
        _set_properties(examples, contents, exec_properties, config.depth)
        details.record(
            Data(
                split_counts={k: v["images"] for k, v in contents["splits"].items()},
                quarantined=contents["quarantined"]["count"],
            )
        )
        logging.info("Ingested %d images", contents["images"])

    def _gather(self, properties: Properties, folder: Path) -> Gathered:
        """Reads all images."""
        config = from_json(properties[CONFIG])
        source = list_source(config, properties[RESOLVED_PATH])
        spool = Spool.new(folder, source, config.splits)
        if properties.get(ENGINE) != BEAM:
            return spool.finish(source, gather(source, config, spool))
        from components.example_gen.ingest import ingest  # Beam takes a second

        return spool.finish(source, ingest(self._make_beam_pipeline(), source, config, spool))


def _write_report(uri: str, outcome: Outcome, properties: dict[str, Any]) -> None:
    place = {name: properties.get(name) for name in (SPAN, VERSION)}
    contents = {"path": properties[RESOLVED_PATH], **place, **outcome.report}
    text = json.dumps(contents, indent=1, ensure_ascii=False)
    with fileio.open(os.path.join(uri, REPORT_FILE), "w") as f:
        f.write(text + "\n")
    with fileio.open(os.path.join(uri, QUARANTINE_FILE), "w") as f:
        f.write("".join(outcome.quarantine_lines()))
    with fileio.open(os.path.join(uri, IMAGES_FILE), "wb") as f:
        for images in outcome.images():
            f.write(to_lines(images))


def _set_properties(
    examples: Any, contents: dict[str, Any], properties: dict[str, Any], depth: int
) -> None:
    # As `tfx.components.util.examples_utils` does, which brings TensorFlow.
    examples.set_string_custom_property(name_of(Examples.payload_format), "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    examples.span = properties[SPAN]
    if VERSION in properties:
        examples.version = properties[VERSION]
    digest, images = contents["dataset_digest"], contents["images"]
    classes = len(contents["classes"])
    annotate(
        examples,
        Examples(dataset_digest=digest, image_count=images, class_count=classes, depth=depth),
    )
    columns = name_of(Examples.extra_columns)
    examples.set_json_value_custom_property(columns, contents["extra_columns"])
