"""Tries one candidate in the server: loads it, asks about real images, compares, measures."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from common.errors import DataError, RunError
from components.infra_validation.child import ServerProcess
from components.infra_validation.clients import Ask, Grpc, Http, golden
from components.infra_validation.config import InfraValidationConfig
from components.infra_validation.probes import Probe, make_probes
from components.infra_validation.report import Latency, NotBlessedError, Report
from components.infra_validation.sample import (
    Example,
    Floats,
    compare,
    own_answers,
    requests,
    sample,
)
from modelstore.artifact import ModelCard, PushManifest
from modelstore.versions import publish

_REQUESTS = 100
_SECONDS = 3.0
"""A measurement ends after so many requests, or so long, but each image is asked about."""
_MEASUREMENTS = 3
"""Of a latency that is too long: something else may have had the CPU."""
REST, GRPC = "rest", "grpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that is to be pushed."""

    source: Path
    """The directory that Pusher copies."""
    name: str
    uri: str
    """Of the model artifact."""
    run_id: str


def validate(
    candidate: Candidate,
    split: Path,
    config: InfraValidationConfig,
    server: ServerProcess,
) -> Report:
    """Tries a model as the server would serve it after a push.

    Args:
      split: raw examples, see `sample`.
      server: over an empty folder.

    Returns:
      A report, blessed if all was done and all was right.

    Raises:
      RunError: it could not be tried, which says nothing about the model.
      DataError: there is no example to try it with.
    """
    report = Report()
    name, source = candidate.name, candidate.source
    deadline = time.monotonic() + config.timeout_seconds
    examples = sample(split, config.examples)
    report.examples = len(examples)
    try:
        version, card = _publish(candidate, server.serving / name)
        probes = make_probes(examples[0], card.depth)
        report.probes = len(probes)
        with ThreadPoolExecutor(1) as meanwhile:
            asked = [*examples, *(p.normalised for p in probes)]
            own = meanwhile.submit(own_answers, source, asked)
            server.ports(deadline)
            began = time.monotonic()
            server.wait_until_loaded(name, version, deadline)
            report.loading_seconds = time.monotonic() - began
            expected_NC, of_probes_NC = np.split(own.result(), [len(examples)])
        if expected_NC.shape[1] != len(card.class_names):
            raise NotBlessedError(
                f"{len(card.class_names)} classes have {expected_NC.shape[1]} scores"
            )
        with _explained(server), contextlib.ExitStack() as stack:
            http_port, grpc_port = server.ports(deadline)
            seconds = config.timeout_seconds
            http = Http(http_port, name, card.class_names, seconds)
            grpc = Grpc(grpc_port, name, seconds)
            for client in (http, grpc):
                stack.enter_context(contextlib.closing(client))
            _compare(report, http, grpc, source, examples, expected_NC)
            _probe(http, grpc, probes, of_probes_NC)
            for protocol, ask in ((REST, http.v1), (GRPC, grpc.v1)):
                _time(report, protocol, ask, examples, expected_NC, config.max_p99_ms)
        server.check("after it had answered")
    except NotBlessedError as e:
        report.why_not = str(e)
        return report
    if not {REST, GRPC} <= report.latency.keys() or not report.examples:
        raise RunError("The model was not tried to the end.")
    report.blessed = True
    return report


def _publish(candidate: Candidate, folder: Path) -> tuple[int, ModelCard]:
    """Publishes it as Pusher does, into a folder that no other server watches."""
    try:
        card = ModelCard.read(candidate.source)

        def manifest(version: int) -> PushManifest:
            return PushManifest(
                name=candidate.name,
                version=version,
                pushed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                framework=card.framework,
                architecture=card.architecture,
                model_uri=candidate.uri,
                run_id=candidate.run_id,
                mlmd={},
            )

        return publish(candidate.source, folder, manifest).version, card
    except DataError as e:
        raise NotBlessedError(str(e)) from e


def _compare(
    report: Report,
    http: Http,
    grpc: Grpc,
    source: Path,
    examples: Sequence[Example],
    expected_NC: Floats,
) -> None:
    """Asks about all images over every protocol, several in a request."""
    differences = []
    for what, ask in _asks(http, grpc).items():
        at = 0
        for request in requests(examples):
            part_NC = expected_NC[at : at + len(request)]
            differences.append(compare(what, ask(request), part_NC))
            at += len(request)
    images_NHW3, scores_NC = golden(source)
    differences.append(compare("gRPC, asked by pixels,", grpc.pixels(images_NHW3), scores_NC))
    report.engine, scores_1C = http.file(examples[0])
    differences.append(compare("POST /predict", scores_1C, expected_NC[:1]))
    report.largest_difference = max(differences)


def _asks(http: Http, grpc: Grpc) -> dict[str, Ask]:
    return {"REST": http.v1, "REST V2": http.v2, "gRPC": grpc.v1, "gRPC V2": grpc.v2}


def _probe(http: Http, grpc: Grpc, probes: Sequence[Probe], expected_NC: Floats) -> None:
    """Asks about raw files: the answers are the model's for what ingestion makes of them."""
    asks = {"POST /predict": lambda examples: http.file(examples[0])[1], **_asks(http, grpc)}
    for probe, expected_C in zip(probes, expected_NC, strict=True):
        try:
            for what, ask in asks.items():
                compare(what, ask([probe.raw]), expected_C[None])
        except NotBlessedError as e:
            raise NotBlessedError(f"asked about {probe.kind}: {e}") from e


def _time(
    report: Report,
    protocol: str,
    ask: Ask,
    examples: Sequence[Example],
    expected_NC: Floats,
    max_p99_ms: float | None,
) -> None:
    """Measures requests for one image, one after the other; every answer is compared."""
    for _ in range(_MEASUREMENTS if max_p99_ms is not None else 1):
        latency = _measure(protocol, ask, examples, expected_NC)
        best = report.latency.get(protocol, latency)
        report.latency[protocol] = min(best, latency, key=lambda x: x.p99_ms)
        if max_p99_ms is None or latency.p99_ms <= max_p99_ms:
            return
    raise NotBlessedError(
        f"99 of 100 requests over {protocol} took up to {report.latency[protocol].p99_ms:.1f} ms; "
        f"at most {max_p99_ms:g} ms are allowed (infra_validation.max_p99_ms)"
    )


def _measure(protocol: str, ask: Ask, examples: Sequence[Example], expected_NC: Floats) -> Latency:
    milliseconds: list[float] = []
    end = time.monotonic() + _SECONDS
    while len(milliseconds) < _REQUESTS and (
        len(milliseconds) < len(examples) or time.monotonic() < end
    ):
        i = len(milliseconds) % len(examples)
        began = time.perf_counter()
        scores_1C = ask([examples[i]])
        milliseconds.append((time.perf_counter() - began) * 1000)
        compare(f"{protocol}, asked about one image,", scores_1C, expected_NC[i : i + 1])
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return Latency(p50_ms=float(p50), p99_ms=float(p99), requests=len(milliseconds))


@contextlib.contextmanager
def _explained(server: ServerProcess) -> Iterator[None]:
    """Turns a connection that breaks or stays silent into what happened to the server."""
    import grpc

    try:
        yield
    except (OSError, http.client.HTTPException, grpc.RpcError) as e:
        with contextlib.suppress(Exception):
            server.process.wait(2)  # the connection breaks before the process is gone
        server.check("while it was asked")
        reason = f"{type(e).__name__}: {e}"
        if isinstance(e, grpc.RpcError):
            reason = f"{e.code().name} {e.details()}"
        raise RunError(server.say(f"the server did not answer: {reason}")) from e
