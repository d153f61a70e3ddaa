"""What was run, as OpenLineage events (https://openlineage.io, core specification 2-0-2).

Each execution that did work is a run of the job `<pipeline>.<component>`, and its parent
is a run of the job `<pipeline>`.  A dataset is what a component's output is called over all
runs: its place without TFX's number of the execution, which is the dataset's version.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from common.record.artifacts import Examples, Pushed
from common.record.kinds import MODEL, PUSHED_MODEL
from common.record.record import value_of
from common.record.steps import Data, Step
from lineage.exchange.closure import closure
from lineage.graph import facts
from lineage.graph.producers import BASELINE, runs_of
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Event, Execution, Value

NAMESPACE = "visionline"
"""Of jobs."""
PRODUCER = "urn:visionline:lineage-export"
_SPEC = "https://openlineage.io/spec"
_CORE = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs"
_UUIDS = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
_BATCH = 1000
_LONGEST = 500
"""Characters of a property that is passed on."""
_ENDS = {"COMPLETE": "COMPLETE", "FAILED": "FAIL", "CANCELED": "ABORT"}
_RUN_ENDS = {"complete": "COMPLETE", "failed": "FAIL", "cancelled": "ABORT"}
_NUMBERED = re.compile(r"(.+)/(\d+)/*")

Json = dict[str, Any]


def events(reader: Reader, ref: str | None = None) -> Iterator[bytes]:
    """Yields one event a line, of the whole store or of what belongs to a model or run.

    What was taken from the cache did no work and has no events.

    Raises:
      NotFoundError: nothing is called `ref`.
    """
    if ref is None:
        states = reader.execution_states()
    else:
        ids = closure(reader, ref).executions
        states = {i: e.state for i, e in reader.executions(ids).items()}
    wanted = sorted(i for i, state in states.items() if state != "CACHED")
    lines = (
        json.dumps(e, ensure_ascii=False, separators=(",", ":"))
        for e in _Events(reader, wanted).all()
    )
    return (f"{line}\n".encode() for line in lines)


class _Events:
    def __init__(self, reader: Reader, executions: Sequence[int]) -> None:
        self._reader = reader
        self._executions = executions
        self._wanted = set(executions)
        self._runs: dict[int, _Run] = {}

    def all(self) -> Iterator[Json]:
        waiting = iter(self._executions)
        while ids := list(islice(waiting, _BATCH)):
            executions = self._reader.executions(ids)
            runs = runs_of(self._reader, list(executions.values()))
            inputs_and_outputs = self._reader.events(ids)
            artifacts = self._reader.artifacts({e.artifact_id for e in inputs_and_outputs})
            by_execution: dict[int, list[Event]] = defaultdict(list)
            for event in inputs_and_outputs:
                if event.artifact_id in artifacts:
                    by_execution[event.execution_id].append(event)
            for id_ in sorted(executions):
                run = self._run(runs[id_]) if id_ in runs else _Run()
                if run.first == id_:
                    yield _event("START", run.started, run.run, run.job)
                yield from _of_execution(executions[id_], by_execution[id_], artifacts, run)
                if run.last == id_ and run.end is not None:
                    yield _event(run.end, run.ended, run.run, run.job)
                    del self._runs[runs[id_].id]

    def _run(self, context: Context) -> _Run:
        if context.id not in self._runs:
            inside = self._reader.executions_in([context.id]).get(context.id, [])
            own = [i for i in inside if i in self._wanted]
            run = facts.run_facts(self._reader, context)
            self._runs[context.id] = _Run.of(context, run, own)
        return self._runs[context.id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run of the whole pipeline; the default: of what belongs to none."""

    first: int = 0
    """Id of its first execution that has events."""
    last: int = 0
    pipeline: str = "pipeline"
    started: int = 0
    ended: int = 0
    end: str | None = None
    """The event's type; None: still running."""
    run: Json = field(default_factory=dict)
    job: Json = field(default_factory=dict)
    code: Json = field(default_factory=dict)
    """Facets that its jobs share."""
    shared: Json = field(default_factory=dict)
    """Facets of the runs of its components."""

    @classmethod
    def of(cls, context: Context, run: facts.RunFacts, executions: Sequence[int]) -> _Run:
        pipeline = run.pipeline or "pipeline"
        code, engine, id_ = _code(run), _engine(run), {"runId": _uuid("run", run.run_id)}
        job = {"namespace": NAMESPACE, "name": pipeline}
        facets = {
            **engine,
            **_error(run.error),
            "visionline_run": _facet(
                "RunFacet",
                runId=run.run_id,
                state=run.state,
                framework=run.framework,
                model=run.model,
                seed=run.seed,
                configDigest=run.config_digest,
                datasetDigest=run.dataset_digest,
                packagesDigest=run.packages_digest,
                user=run.user,
                host=run.host,
                accelerator=run.accelerator,
            ),
        }
        return cls(
            first=min(executions, default=0),
            last=max(executions, default=0),
            pipeline=pipeline,
            started=context.created,
            ended=max(context.updated, context.created),
            end=_RUN_ENDS.get(run.state),
            run={**id_, "facets": facets},
            job=_job(pipeline, "DAG", code),
            code=code,
            shared={
                "parent": _facet(
                    "1-2-0/ParentRunFacet", run=id_, job=job, root={"run": id_, "job": job}
                ),
                **engine,
            },
        )


def _of_execution(
    execution: Execution, joined: Sequence[Event], artifacts: Mapping[int, Artifact], run: _Run
) -> Iterator[Json]:
    aside = [artifacts[e.artifact_id] for e in joined if e.key in BASELINE]
    compared = [_place(a) for a in aside if a.type == MODEL]
    worked = [(e.kind, artifacts[e.artifact_id]) for e in joined if e.key not in BASELINE]
    inputs = [{**_dataset(a), "inputFacets": {}} for kind, a in worked if kind == "input"]
    inputs = _once(inputs + _source(execution))
    outputs = _once([_output(a) for kind, a in worked if kind == "output"])
    facets = {
        **run.shared,
        **_error(value_of(execution, Step.error)),
        "visionline_execution": _facet(
            "RunFacet",
            executionId=execution.id,
            state=execution.state,
            properties={k: v for k, v in sorted(execution.custom.items()) if _is_short(v)},
            comparedWith=compared or None,
        ),
    }
    identity = execution.name or f"{execution.type}/{execution.created}/{execution.id}"
    at = {"runId": _uuid("execution", identity), "facets": facets}
    job = _job(f"{run.pipeline}.{execution.component}", "TASK", run.code)
    yield _event("START", execution.created, at, job, inputs)
    if (end := _ENDS.get(execution.state)) is not None:
        ended = max(facts.ended(execution), execution.created)
        yield _event(end, ended, at, job, inputs, outputs)


def _event(
    kind: str,
    milliseconds: int,
    run: Json,
    job: Json,
    inputs: Sequence[Json] = (),
    outputs: Sequence[Json] = (),
) -> Json:
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return {
        "eventType": kind,
        "eventTime": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "run": run,
        "job": job,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": PRODUCER,
        "schemaURL": f"{_CORE}/RunEvent",
    }


def _job(name: str, kind: str, code: Json) -> Json:
    type_ = _facet("2-0-4/JobTypeJobFacet", processingType="BATCH", integration="TFX", jobType=kind)
    return {"namespace": NAMESPACE, "name": name, "facets": {"jobType": type_, **code}}


def _output(artifact: Artifact) -> Json:
    images = value_of(artifact, Examples.image_count)
    statistics = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=images)
    facets = {} if images is None else {"outputStatistics": statistics}
    return {**_dataset(artifact), "outputFacets": facets}


def _dataset(artifact: Artifact) -> Json:
    namespace, name, version = _place(artifact).values()
    kind = "MODEL" if artifact.type in (MODEL, PUSHED_MODEL) else "FILE"
    facets = {
        "datasetType": _facet(
            "1-0-1/DatasetTypeDatasetFacet", datasetType=kind, subType=artifact.type or None
        ),
        "visionline_artifact": _facet(
            "DatasetFacet",
            artifactId=artifact.id,
            uri=artifact.uri,
            type=artifact.type,
            state=artifact.state,
            datasetDigest=value_of(artifact, Examples.dataset_digest),
        ),
        **_version(version),
    }
    return {"namespace": namespace, "name": name, "facets": facets}


def _version(version: str | None) -> Json:
    if version is None:
        return {}
    return {"version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=version)}


def _place(artifact: Artifact) -> dict[str, str | None]:
    """Returns namespace, name and version of the dataset that an artifact is a version of.

    A model that was pushed is a version of what it is served as.
    """
    uri = artifact.uri
    destination = value_of(artifact, Pushed.pushed_destination)
    if artifact.type == PUSHED_MODEL and destination:
        uri = destination
    numbered = _NUMBERED.fullmatch(uri)
    place, version = numbered.groups() if numbered else (uri, None)
    namespace, name = "file", place
    if "://" in place:
        url = urlsplit(place)
        name = url.path.lstrip("/")
        namespace = f"{url.scheme}://{url.netloc}" if url.netloc else "file"
    return {
        "namespace": namespace,
        "name": name or f"artifact-{artifact.id}",
        "version": version,
    }


def _source(execution: Execution) -> list[Json]:
    """Returns the images that an ExampleGen read, which are no artifact."""
    read = Data.read(execution)
    if read.resolved_path is None:
        return []
    type_ = _facet("1-0-1/DatasetTypeDatasetFacet", datasetType="FILE")
    facets = {"datasetType": type_, **_version(read.input_fingerprint)}
    return [{"namespace": "file", "name": read.resolved_path, "facets": facets, "inputFacets": {}}]


def _code(run: facts.RunFacts) -> Json:
    place = PurePosixPath(run.directory or "")
    if run.git_commit is None or not place.is_absolute():
        return {}
    facet = "1-1-0/SourceCodeLocationJobFacet"
    location = _facet(facet, type="git", url=place.as_uri(), version=run.git_commit)
    return {"sourceCodeLocation": location}


def _engine(run: facts.RunFacts) -> Json:
    version = (run.packages or {}).get("tfx")
    facet = _facet("1-1-1/ProcessingEngineRunFacet", name="TFX", version=version)
    return {"processing_engine": facet} if version else {}


def _error(message: str | None) -> Json:
    facet = _facet("1-0-1/ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    return {"errorMessage": facet} if message else {}


def _facet(kind: str, **values: Any) -> Json:
    """Returns a facet, without what is not recorded.

    Args:
      kind: version and name of a facet of the specification; of our own, what it is based on.
    """
    schema = f"{_CORE}/{kind}"
    if "/" in kind:
        schema = f"{_SPEC}/facets/{kind}.json#/$defs/{kind.rpartition('/')[2]}"
    recorded = {k: v for k, v in values.items() if v is not None}
    return {"_producer": PRODUCER, "_schemaURL": schema, **recorded}


def _is_short(value: Value) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= _LONGEST
    )


def _once(datasets: Sequence[Json]) -> list[Json]:
    """Leaves out doubles: a dataset may come through several channels."""
    keys = ((d["namespace"], d["name"], str(d["facets"].get("version"))) for d in datasets)
    return list(dict(zip(keys, datasets, strict=True)).values())


def _uuid(kind: str, name: str) -> str:
    """Returns the UUID that TFX names an execution by, or one that is the same at each export."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(_UUIDS, f"{kind}/{name}"))
