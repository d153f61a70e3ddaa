"""Sends a compiled pipeline to Kubeflow Pipelines."""

from __future__ import annotations

import contextlib
import io
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.kubeflow.spec import arguments, read_package
from trainers.errors import ConfigError, RunError

_SECONDS = 10.0
_HEALTH = "/apis/v2beta1/healthz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    package: Path
    endpoint: str
    """URL of the API, such as http://localhost:8888."""
    experiment: str
    run_name: str | None
    pipeline_root: str | None
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    id: str
    name: str
    url: str


def submit_run(asked: Submission) -> Submitted:
    """Starts a run.

    Everything that can be wrong here is looked at first; the run is one request, so that
    there is a whole one or none.

    Raises:
      ConfigError: the package or a parameter cannot be used, or the endpoint is no URL.
      RunError: the endpoint does not answer, or refuses.
    """
    package = read_package(asked.package)
    arguments(package.spec, asked.parameters)
    endpoint = asked.endpoint.rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"--endpoint: expected http://… or https://…, got {asked.endpoint!r}.")
    _reach(endpoint)
    name = asked.run_name or package.name
    import kfp

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints links for notebooks
            client = kfp.Client(host=endpoint)
            run = client.create_run_from_pipeline_package(
                str(asked.package),
                arguments=dict(asked.parameters),
                run_name=name,
                experiment_name=asked.experiment,
                pipeline_root=asked.pipeline_root,
            )
    except Exception as e:  # the client's own, urllib3's, and what a proxy answers
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise RunError(f"{endpoint} did not start the run: {first}") from None
    return Submitted(id=run.run_id, name=name, url=f"{endpoint}/#/runs/details/{run.run_id}")


def _reach(endpoint: str) -> None:
    """Asks for the API's health; its client would try for a minute."""
    request = urllib.request.Request(endpoint + _HEALTH)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return
    except urllib.error.HTTPError as e:
        reason = f"it answered {_HEALTH} with status {e.code}"
    except (OSError, ValueError) as e:
        reason = str(getattr(e, "reason", e))
    raise RunError(
        f"Kubeflow Pipelines does not answer at {endpoint}: {reason}. Nothing was submitted. "
        "Expected the URL of its API, such as that of "
        "`kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888`."
    )
