"""Reads, checks and writes the images: the Beam pipeline of ImageExampleGen."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import random
from typing import Any

import apache_beam as beam
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import details
from components.example_gen import ingest
from components.example_gen.config import DataConfig, from_json
from components.example_gen.driver import CONFIG, EXAMPLES
from components.example_gen.image_index import IMAGES_FILE, to_lines
from components.example_gen.records import Source, batches
from components.example_gen.report import QUARANTINE_FILE, REPORT_FILE, Outcome, conclude
from components.example_gen.resolve import FINGERPRINT, RESOLVED_PATH, SPAN, VERSION, resolve
from components.example_gen.source import list_source
from components.example_gen.splits import SplitPlan
from trainers.errors import DataError, RunError

REPORT = "report"
_FILE_NAME = "data_tfrecord"


class Executor(base_beam_executor.BaseBeamExecutor):
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Ingests the images.

        Raises:
          DataError: what is wrong with the images.
          RunError: the disk is full.
        """
        if FINGERPRINT not in exec_properties:  # an orchestrator that runs no drivers
            exec_properties |= resolve(exec_properties[CONFIG])
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])
        report = artifact_utils.get_single_instance(output_dict[REPORT])
        config = from_json(exec_properties[CONFIG])
        examples.split_names = artifact_utils.encode_split_names(list(config.split_names))
        source = list_source(config, exec_properties[RESOLVED_PATH])
        try:
            with self._make_beam_pipeline() as pipeline:
                _build(pipeline, source, config, examples, report.uri)
        except Exception as e:
            _raise_if_full(e, examples.uri)
            raise
        contents = _read_report(report.uri)
        if contents["dataset_digest"] != exec_properties[FINGERPRINT]:
            raise DataError(
                f"{exec_properties[RESOLVED_PATH]} changed while it was being read; run again."
            )
        _complete_report(report.uri, contents, exec_properties)
        _set_properties(examples, contents, exec_properties)
        details.record(
            split_counts=json.dumps({k: v["images"] for k, v in contents["splits"].items()}),
            quarantined=contents["quarantined"]["count"],
        )
        logging.info("Ingested %d images", contents["images"])


def _build(
    pipeline: beam.Pipeline, source: Source, config: DataConfig, examples: Any, report_uri: str
) -> None:
    """The pipeline: read → notes → plan and report → examples routed to splits."""
    tfrecords = source.kind == "tfrecord"
    reader = ingest.IngestTFRecords if tfrecords else ingest.IngestImages
    # Written class after class, a file would be useless to whoever streams it.
    shuffled = random.Random(0).sample(source.records, len(source.records))
    packed = map(ingest.pack, batches(shuffled, 1 if tfrecords else ingest.BATCH))
    # The records travel in the batches; functions need the rest alone.
    header = dataclasses.replace(source, records=())
    ingested = (
        pipeline
        | "List" >> beam.Create(list(packed), reshuffle=False)
        | "Distribute" >> beam.Reshuffle()
        | "Ingest"
        >> beam.ParDo(reader(source.base, config.max_pixels)).with_outputs("notes", main="examples")
    )
    plan = (
        ingested["notes"]
        | "AllNotes" >> beam.combiners.ToList()
        | "Report" >> beam.ParDo(WriteReport(header, config, report_uri))
    )
    routed = ingested["examples"] | "Route" >> beam.ParDo(
        ingest.RouteToSplits(), plan=beam.pvalue.AsSingleton(plan)
    ).with_outputs(*config.split_names)
    for name in config.split_names:
        _ = routed[name] | f"Write[{name}]" >> beam.io.WriteToTFRecord(
            os.path.join(artifact_utils.get_split_uri([examples], name), _FILE_NAME),
            file_name_suffix=".gz",
        )


class WriteReport(beam.DoFn):
    """All notes → the split plan; writes the report on the way.

    What is wrong with the data is written down instead of raised, because
    Beam would bury the message under its own.
    """

    def __init__(self, source: Source, config: DataConfig, uri: str) -> None:
        self._source = source
        self._config = config
        self._uri = uri

    def process(self, packed: list[bytes]) -> Any:
        try:
            outcome = conclude(self._source, self._config, map(pickle.loads, packed))
        except DataError as e:
            empty = SplitPlan(shares={"train": 1.0}, moved={})
            outcome = Outcome(plan=empty, report={"error": str(e)}, quarantined=[], images=[])
        _write_json(self._uri, outcome.report)
        with fileio.open(os.path.join(self._uri, QUARANTINE_FILE), "w") as f:
            f.write("".join(outcome.quarantine_lines()))
        with fileio.open(os.path.join(self._uri, IMAGES_FILE), "wb") as f:
            f.write(to_lines(outcome.images))
        yield outcome.plan


def _read_report(uri: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(io_utils.read_string_file(os.path.join(uri, REPORT_FILE)))
    if "error" in contents:
        raise DataError(contents["error"])
    return contents


def _complete_report(uri: str, contents: dict[str, Any], properties: dict[str, Any]) -> None:
    place = {name: properties.get(name) for name in (SPAN, VERSION)}
    _write_json(uri, {"path": properties[RESOLVED_PATH], **place, **contents})


def _write_json(uri: str, contents: dict[str, Any]) -> None:
    text = json.dumps(contents, indent=1, ensure_ascii=False)
    with fileio.open(os.path.join(uri, REPORT_FILE), "w") as f:
        f.write(text + "\n")


def _set_properties(examples: Any, contents: dict[str, Any], properties: dict[str, Any]) -> None:
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    examples.span = properties[SPAN]
    if VERSION in properties:
        examples.version = properties[VERSION]
    examples.set_string_custom_property("dataset_digest", contents["dataset_digest"])
    examples.set_int_custom_property("image_count", contents["images"])
    examples.set_int_custom_property("class_count", len(contents["classes"]))
    examples.set_json_value_custom_property("extra_columns", contents["extra_columns"])


def _raise_if_full(error: BaseException, uri: str) -> None:
    """Raises RunError where a full disk ended the pipeline.

    Beam keeps a worker's exception only as text.
    """
    if os.strerror(errno.ENOSPC) in str(error):
        raise RunError(
            f"No space left on the disk of {uri}. Free some, or move the pipeline root."
        ) from None
