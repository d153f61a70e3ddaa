"""Sends a compiled pipeline to Kubeflow Pipelines: a run, a recurring run, a version."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RunError
from common.process.quiet import quiet_stderr
from pipeline.kubeflow.cluster.api import Api
from pipeline.kubeflow.config import KubeflowConfig
from pipeline.kubeflow.settings import prepare
from pipeline.kubeflow.spec import Package, arguments, ordered
from pipeline.kubernetes.grammar import is_subdomain

_FIELDS = "second, minute, hour, day of the month, month, day of the week"
_SUFFIXES = (".yaml", ".yml")
_EQUALS = 1
"""Of the API's filters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a recurring run starts its runs, one after the other: one of the two."""

    cron: str | None = None
    """Six fields, the first of them seconds; in the time zone of the cluster's API."""
    every: int | None = None
    """Seconds."""

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ConfigError("A recurring run has one schedule: give either --cron or --every.")
        if self.cron is not None and len(self.cron.split()) != 6:
            raise ConfigError(
                f"--cron: expected six fields ({_FIELDS}), such as '0 30 3 * * *' for half past "
                f"three every night, got {len(self.cron.split())}: {self.cron!r}."
            )
        if self.every is not None and self.every < 1:
            raise ConfigError(f"--every: expected 1 second or more, got {self.every}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is sent."""

    package: Path
    experiment: str = "visionline"
    name: str | None = None
    """Of the run or recurring run; by default the pipeline's."""
    pipeline_root: str | None = None
    """By default the one that it was compiled with."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """By the pipeline's parameters or the config's keys."""
    service_account: str | None = None
    """Of all its pods; by default the cluster's."""
    caching: bool = True
    """False: nothing is taken from the cache; True: as each task was compiled."""
    pipeline: str | None = None
    """The pipeline that this is uploaded to as a version, and then run from there."""
    version: str | None = None
    """Name of that version; by default the pipeline's and the time."""
    schedule: Schedule | None = None
    """A recurring run instead of a run."""

    def __post_init__(self) -> None:
        if self.version is not None and self.pipeline is None:
            raise ConfigError("--version-name: which pipeline's version? Give --pipeline-name too.")
        if self.pipeline is not None and not self.pipeline.strip():
            raise ConfigError("--pipeline-name: expected a name, got none.")
        if self.pipeline is not None and not self.caching:
            raise ConfigError(
                "--no-cache changes the tasks of a spec that is sent along; a run of a "
                "--pipeline-name takes them from the version. Give one of the two."
            )
        if self.package.suffix not in _SUFFIXES:
            raise ConfigError(
                f"{self.package}: expected a name ending in {' or '.join(_SUFFIXES)}, which "
                "Kubeflow goes by."
            )
        account = self.service_account
        if account is not None and not is_subdomain(account):
            raise ConfigError(f"--service-account: expected the name of one, got {account!r}.")
        KubeflowConfig(pipeline_root=self.pipeline_root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What was made of it."""

    id: str
    """Of the run or recurring run."""
    name: str
    version: str | None
    """That it runs, as "VERSION of PIPELINE"."""
    tasks: tuple[str, ...]
    """In the order in which they can run; of what was compiled anew, its own."""


def submit(asked: Submission, api: Api) -> Submitted:
    """Starts a run, or sets up a recurring run.

    Everything that can be wrong here is looked at first.  The run is one request, so that
    there is a whole one or none.

    Raises:
      ConfigError: the package, a parameter or a secret cannot be used.
      RunError: the endpoint does not answer, or refuses.
    """
    with tempfile.TemporaryDirectory() as scratch:
        with quiet_stderr():
            prepared = prepare(asked.package, asked.parameters, Path(scratch))
        asked = replace(asked, package=prepared.path, parameters=prepared.parameters)
        return _submit(asked, prepared.package, api)


def _submit(asked: Submission, package: Package, api: Api) -> Submitted:
    values = arguments(package.spec, asked.parameters)
    api.reach()
    name = asked.name or package.name
    failed = "did not start the run" if asked.schedule is None else "took no recurring run"
    with api.client(failed) as client:
        source, version = _source(client, api, asked, package)
        experiment = client.create_experiment(asked.experiment, namespace=api.namespace)
        options = {
            "experiment_id": experiment.experiment_id,
            "job_name": name,
            "params": values,
            "pipeline_root": asked.pipeline_root or package.spec.get("defaultPipelineRoot"),
            "service_account": asked.service_account,
            **source,
        }
        if asked.schedule is None:
            id_ = client.run_pipeline(**options).run_id
        else:
            id_ = client.create_recurring_run(
                **options,
                cron_expression=asked.schedule.cron,
                interval_second=asked.schedule.every,
                max_concurrency=1,
                no_catchup=True,  # a model of now, not one for each night that was missed
            ).recurring_run_id
    if not id_:  # such as a proxy's login page, which the client takes for an empty answer
        raise RunError(
            f"{api.endpoint} {failed}: it answered without an id. Expected Kubeflow's API; is "
            "there a proxy in between that wants another token or cookie?"
        )
    tasks = tuple(ordered(package.spec["root"]["dag"]["tasks"]))
    return Submitted(id=id_, name=name, version=version, tasks=tasks)


def _source(
    client: Any, api: Api, asked: Submission, package: Package
) -> tuple[dict[str, Any], str | None]:
    """Returns what is run as the client takes it, and the version that this is."""
    if asked.pipeline is None:
        # True would turn the cache on for tasks that must never be cached.
        caching = None if asked.caching else False
        return {"pipeline_package_path": str(asked.package), "enable_caching": caching}, None
    version = asked.version or f"{package.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    uploaded = _upload(client, api, asked.pipeline, version, asked.package)
    source = {"pipeline_id": uploaded.pipeline_id, "version_id": uploaded.pipeline_version_id}
    return source, f"{version} of {asked.pipeline}"


def _upload(client: Any, api: Api, pipeline: str, version: str, package: Path) -> Any:
    """Returns a version of a pipeline, which is made where there is none of the name."""
    existing = _pipeline_id(client, pipeline, api.namespace)
    id_ = existing
    if id_ is None:
        body = client.api_models.V2beta1Pipeline(
            name=pipeline, display_name=pipeline, namespace=api.namespace
        )
        id_ = client.pipelines.pipeline_service_create_pipeline(body).pipeline_id
    try:
        return client.upload_pipeline_version(str(package), version, pipeline_id=id_)
    except Exception:
        if existing is None:  # it would be one without versions
            with contextlib.suppress(Exception):
                client.delete_pipeline(id_)
        raise


def _pipeline_id(client: Any, name: str, namespace: str | None) -> str | None:
    """Finds a pipeline, unlike the client's own in one namespace."""
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    listed = client.list_pipelines(
        filter=json.dumps({"predicates": [predicate]}), namespace=namespace
    )
    return listed.pipelines[0].pipeline_id if listed.pipelines else None
