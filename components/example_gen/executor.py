"""Reads, checks and writes the images: the Beam pipeline of ImageExampleGen."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import uuid
from itertools import chain
from pathlib import Path
from typing import Any

from absl import logging
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from common.errors import DataError, RunError
from common.process.progress import emit
from common.record.artifacts import Examples
from common.record.record import annotate, name_of
from common.record.steps import Data
from components import details
from components.example_gen.config import DataConfig, from_json
from components.example_gen.driver import CONFIG, EXAMPLES
from components.example_gen.gather import gather
from components.example_gen.image_index import IMAGES_FILE, to_lines
from components.example_gen.records import Source
from components.example_gen.report import QUARANTINE_FILE, REPORT_FILE, Outcome, conclude
from components.example_gen.resolve import FINGERPRINT, RESOLVED_PATH, SPAN, VERSION, resolve
from components.example_gen.source import list_source
from components.example_gen.splits import plan_by_hash
from components.example_gen.spool import Spool, settle
from components.executor_io import Artifacts, Properties, one, split

REPORT = "report"
_BUNDLES = "bundles.json"


class Executor(base_beam_executor.BaseBeamExecutor):
    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Ingests the images.

        Raises:
          DataError: what is wrong with the images.
          RunError: the disk is full.
        """
        if FINGERPRINT not in exec_properties:  # an orchestrator that runs no drivers
            exec_properties |= resolve(exec_properties[CONFIG])
        examples = one(output_dict, EXAMPLES)
        report = one(output_dict, REPORT)
        config = from_json(exec_properties[CONFIG])
        examples.split_names = artifact_utils.encode_split_names(list(config.split_names))
        source = list_source(config, exec_properties[RESOLVED_PATH])
        listed = source.records or source.shards
        plan = plan_by_hash((each.split for each in listed), config.splits)
        spool = Spool(path=Path(examples.uri, f".spool-{uuid.uuid4().hex}"), plan=plan)
        spool.path.mkdir(parents=True)
        try:
            bundles = self._gather(source, config, spool)
            notes = chain.from_iterable(map(spool.notes, bundles))
            listed = dataclasses.replace(source, records=(), shards=())
            outcome = conclude(listed, config, notes, spool.path)
            if outcome.fingerprint != exec_properties[FINGERPRINT]:
                path = exec_properties[RESOLVED_PATH]
                raise DataError(f"{path} changed while it was being read; run again.")
            _write_report(report.uri, outcome, exec_properties)
            folders = {s: split(output_dict, EXAMPLES, s) for s in config.split_names}
            settle(spool, bundles, outcome.plan, folders)
        except Exception as e:
            _raise_if_full(e, examples.uri)
            raise
        finally:
            spool.remove()
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

    def _gather(self, source: Source, config: DataConfig, spool: Spool) -> list[str]:
        """Reads all images into the spool; returns the names of its bundles."""
        return gather(source, config, spool)


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
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
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


def _raise_if_full(error: BaseException, uri: str) -> None:
    """Raises RunError where a full disk ended the pipeline.

    Beam keeps a worker's exception only as text.
    """
    if os.strerror(errno.ENOSPC) in str(error):
        raise RunError(
            f"No space left on the disk of {uri}. Free some, or move the pipeline root."
        ) from None
