"""What was run, as OpenLineage events (https://openlineage.io, core specification 2-0-2).

Each execution that did work is a run of the job `<pipeline>.<component>`, and its parent
is a run of the job `<pipeline>`.  A dataset is what a component's output is called over all
runs: its place without TFX's number of the execution, which is the dataset's version.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """One event a line, of the whole store or of what belongs to a model or run.

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
    return (_line(event) for event in _Events(reader, wanted).all())


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
            by_execution: dict[int, list[Event]] = {}
            for event in self._reader.events(ids):
                by_execution.setdefault(event.execution_id, []).append(event)
            artifacts = self._reader.artifacts(
                {e.artifact_id for found in by_execution.values() for e in found}
            )
            for id_ in sorted(executions):
                run = self._run(runs[id_]) if id_ in runs else None
                if run is not None and run.first == id_:
                    yield _event("START", run.started, run.run, run.job)
                yield from _of_execution(executions[id_], by_execution.get(id_, []), artifacts, run)
                if run is not None and run.last == id_ and run.end is not None:
                    yield _event(run.end, run.ended, run.run, run.job)
                    del self._runs[run.id]

    def _run(self, context: Context) -> _Run:
        if context.id not in self._runs:
            inside = self._reader.executions_in([context.id]).get(context.id, [])
            own = [i for i in inside if i in self._wanted]
            found = facts.run_facts(self._reader, context)
            self._runs[context.id] = _Run.of(context, found, own)
        return self._runs[context.id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run of the whole pipeline."""

    id: int
    first: int
    """Id of its first execution that has events."""
    last: int
    pipeline: str
    started: int
    ended: int
    end: str | None
    """The event's type; None: still running."""
    run: Json
    job: Json
    code: Json
    """Facets that its jobs share."""
    engine: Json

    @classmethod
    def of(cls, context: Context, found: facts.RunFacts, executions: Sequence[int]) -> _Run:
        pipeline = found.pipeline or "pipeline"
        code = _code(found)
        facets = {
            **_engine(found),
            **_error(found.error),
            "visionline_run": _facet(
                None,
                "RunFacet",
                runId=found.run_id,
                state=found.state,
                framework=found.framework,
                model=found.model,
                seed=found.seed,
                configDigest=found.config_digest,
                datasetDigest=found.dataset_digest,
                packagesDigest=found.packages_digest,
                user=found.user,
                host=found.host,
                accelerator=found.accelerator,
            ),
        }
        return cls(
            id=context.id,
            first=min(executions, default=0),
            last=max(executions, default=0),
            pipeline=pipeline,
            started=context.created,
            ended=max(context.updated, context.created),
            end=_RUN_ENDS.get(found.state),
            run={"runId": _uuid("run", found.run_id), "facets": facets},
            job=_job(pipeline, "DAG", code),
            code=code,
            engine=_engine(found),
        )

    @property
    def parent(self) -> Json:
        job = {"namespace": NAMESPACE, "name": self.pipeline}
        run = {"runId": self.run["runId"]}
        return _facet("1-2-0/ParentRunFacet", run=run, job=job, root={"run": run, "job": job})


def _of_execution(
    execution: Execution,
    found: Sequence[Event],
    artifacts: Mapping[int, Artifact],
    run: _Run | None,
) -> Iterator[Json]:
    compared = [e for e in found if e.key in BASELINE and e.artifact_id in artifacts]
    known = [e for e in found if e.artifact_id in artifacts and e.key not in BASELINE]
    inputs = [_input(artifacts[e.artifact_id]) for e in known if e.kind == "input"]
    inputs += _source(execution)
    outputs = [_output(artifacts[e.artifact_id]) for e in known if e.kind == "output"]
    error = value_of(execution, Step.error)
    facets = {
        **({"parent": run.parent} if run else {}),
        **(run.engine if run else {}),
        **(_error(error) if error else {}),
        "visionline_execution": _facet(
            None,
            "RunFacet",
            executionId=execution.id,
            state=execution.state,
            properties={k: v for k, v in sorted(execution.custom.items()) if _is_short(v)},
            comparedWith=[_place(artifacts[e.artifact_id]) for e in compared] or None,
        ),
    }
    identity = execution.name or f"{execution.type}/{execution.created}/{execution.id}"
    at = {"runId": _uuid("execution", identity), "facets": facets}
    name = f"{run.pipeline if run else 'pipeline'}.{execution.component}"
    job = _job(name, "TASK", run.code if run else {})
    yield _event("START", execution.created, at, job, _once(inputs))
    if (end := _ENDS.get(execution.state)) is not None:
        ended = max(facts.ended(execution), execution.created)
        yield _event(end, ended, at, job, _once(inputs), _once(outputs))


def _event(
    kind: str,
    time: int,
    run: Json,
    job: Json,
    inputs: Sequence[Json] = (),
    outputs: Sequence[Json] = (),
) -> Json:
    return {
        "eventType": kind,
        "eventTime": _time(time),
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


def _input(artifact: Artifact) -> Json:
    return {**_dataset(artifact), "inputFacets": {}}


def _output(artifact: Artifact) -> Json:
    images = value_of(artifact, Examples.image_count)
    statistics = (
        {"outputStatistics": _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=images)}
        if images is not None
        else {}
    )
    return {**_dataset(artifact), "outputFacets": statistics}


def _dataset(artifact: Artifact) -> Json:
    namespace, name, version = _place(artifact).values()
    kind = "MODEL" if artifact.type in (MODEL, PUSHED_MODEL) else "FILE"
    facets = {
        "datasetType": _facet(
            "1-0-1/DatasetTypeDatasetFacet", datasetType=kind, subType=artifact.type or None
        ),
        "visionline_artifact": _facet(
            None,
            "DatasetFacet",
            artifactId=artifact.id,
            uri=artifact.uri,
            type=artifact.type,
            state=artifact.state,
            datasetDigest=value_of(artifact, Examples.dataset_digest),
        ),
    }
    if version is not None:
        facets["version"] = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=version)
    return {"namespace": namespace, "name": name, "facets": facets}


def _place(artifact: Artifact) -> dict[str, str | None]:
    """Namespace, name and version of the dataset that an artifact is a version of.

    A model that was pushed is a version of what it is served as.
    """
    uri = artifact.uri
    destination = value_of(artifact, Pushed.pushed_destination)
    if artifact.type == PUSHED_MODEL and destination:
        uri = destination
    numbered = _NUMBERED.fullmatch(uri)
    place, version = numbered.groups() if numbered else (uri, None)
    url = urlsplit(place) if "://" in place else None
    if url is None:
        namespace, name = "file", place
    else:
        namespace, name = f"{url.scheme}://{url.netloc}", url.path.lstrip("/")
    return {
        "namespace": namespace if url is None or url.netloc else "file",
        "name": name or f"artifact-{artifact.id}",
        "version": version,
    }


def _source(execution: Execution) -> list[Json]:
    """The images that an ExampleGen read, which are no artifact."""
    read = Data.read(execution)
    source, digest = read.resolved_path, read.input_fingerprint
    if source is None:
        return []
    facets = {"datasetType": _facet("1-0-1/DatasetTypeDatasetFacet", datasetType="FILE")}
    if digest is not None:
        facets["version"] = _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=digest)
    return [{"namespace": "file", "name": source, "facets": facets, "inputFacets": {}}]


def _code(found: facts.RunFacts) -> Json:
    if found.git_commit is None or not PurePosixPath(found.directory or "").is_absolute():
        return {}
    place = PurePosixPath(found.directory or "").as_uri()
    location = _facet(
        "1-1-0/SourceCodeLocationJobFacet", type="git", url=place, version=found.git_commit
    )
    return {"sourceCodeLocation": location}


def _engine(found: facts.RunFacts) -> Json:
    version = (found.packages or {}).get("tfx")
    if not version:
        return {}
    return {
        "processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", name="TFX", version=version)
    }


def _error(message: str | None) -> Json:
    if not message:
        return {}
    facet = _facet("1-0-1/ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    return {"errorMessage": facet}


def _facet(published: str | None, base: str = "", **values: Any) -> Json:
    """A facet, without what is not known.

    Args:
      published: version and name of a facet of the specification; None for our own.
      base: what kind of facet our own is.
    """
    if published is None:
        schema = f"{_CORE}/{base}"
    else:
        schema = f"{_SPEC}/facets/{published}.json#/$defs/{published.rpartition('/')[2]}"
    known = {k: v for k, v in values.items() if v is not None}
    return {"_producer": PRODUCER, "_schemaURL": schema, **known}


def _is_short(value: Value) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= _LONGEST
    )


def _once(datasets: Sequence[Json]) -> list[Json]:
    """A dataset may come through several channels; an event names it once."""
    found = {(d["namespace"], d["name"], str(d["facets"].get("version"))): d for d in datasets}
    return list(found.values())


def _uuid(kind: str, name: str) -> str:
    """TFX names executions by UUIDs; others get one that is the same at each export."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(_UUIDS, f"{kind}/{name}"))


def _time(milliseconds: int) -> str:
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(event: Json) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
