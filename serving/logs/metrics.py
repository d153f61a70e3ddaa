"""What Prometheus is told.

Labels hold nothing that a client can invent: a model is one of the serving folder, or
"", a code one that the server answers with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from serving.logs.record import Record
from serving.models.batching import Observer
from serving.models.served import Slot

Models = Mapping[str, Mapping[int, Slot]]
"""As `Repository.models` gives them."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histograms of times."""
IMAGES = tuple(float(1 << i) for i in range(11))
"""Bounds of the histogram of batch sizes: what a batch can be padded to."""

KEPT_SECONDS = 300.0
"""How long the series of a version that is gone stay: for their last values to be read."""

# In the text format, the times of creation are one more series for each.
disable_created_metrics()  # type: ignore[no-untyped-call]

_VERSION = ("model", "version")
_REQUEST = (*_VERSION, "protocol")
_LOADS = ("loaded", "failed", "unloaded")


class Metrics:
    """The metrics of one server, in a registry of their own; from any thread."""

    def __init__(self) -> None:
        self.models: Callable[[], Models] = dict
        """What is there now; set by who has the repository."""
        self.request_log: Callable[[], Mapping[str, int]] = lambda: {"logged": 0, "dropped": 0}
        """Images by outcome; set by who has a request log."""
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        """Model and version of the series there are."""
        self._gone: dict[tuple[str, str], float] = {}
        """Of those, the ones that are loaded no more, and since when that is known."""
        namespace, registry = "visionline", self.registry
        counter = partial(Counter, namespace=namespace, registry=registry)
        gauge = partial(Gauge, namespace=namespace, registry=registry)
        histogram = partial(Histogram, namespace=namespace, registry=registry, buckets=SECONDS)
        self._requests = counter("requests", "Requests that have ended.", (*_REQUEST, "code"))
        self._seconds = histogram(
            "request_seconds", "From a request's headers to its answer.", (*_REQUEST, "outcome")
        )
        self._in_flight = gauge(
            "requests_in_flight", "Requests that are being answered.", ["protocol"]
        )
        self._refused = counter("refused", "Refusals by their cause.", ("protocol", "reason"))
        self._images = counter("images", "Images that were answered.", _REQUEST)
        self._queue = gauge("queue_images", "Images that wait.", _VERSION)
        self._waited = histogram("queue_seconds", "A request's wait.", _VERSION)
        self._sizes = histogram(
            "batch_images", "Images of a call of the model.", _VERSION, buckets=IMAGES
        )
        self._ran = histogram("batch_seconds", "A call of the model.", _VERSION)
        self._loads = counter("loads", "Loads of versions.", ("model", "outcome"))
        self.lost_lines: Callable[[int], None] = counter(
            "log_lines_lost", "Lines that could not be written."
        ).inc
        """Counts lines of the log."""
        self._by_version: tuple[MetricWrapperBase, ...] = (
            *(self._requests, self._seconds, self._images),
            *(self._queue, self._waited, self._sizes, self._ran),
        )
        self.registry.register(_Now(self))
        ProcessCollector(registry=self.registry)

    def began(self, protocol: str) -> None:
        """Counts a request that is there."""
        self._in_flight.labels(protocol).inc()

    def ended(self, record: Record, seconds: float) -> None:
        """Counts a request that is answered or refused, so long after it began."""
        version = "" if record.version is None else str(record.version)
        request = record.model, version, record.protocol
        self._seen.add((record.model, version))
        self._in_flight.labels(record.protocol).dec()
        self._requests.labels(*request, str(record.status)).inc()
        self._seconds.labels(*request, record.outcome).observe(seconds)
        if record.images and record.outcome == "ok":
            self._images.labels(*request).inc(record.images)
        if record.error is not None:
            self._refused.labels(record.protocol, record.reason).inc()

    def event(self, kind: str, model: str) -> None:
        """Takes a `serving.models.loader.Event`."""
        if kind in _LOADS:
            self._seen.add((model, ""))
            self._loads.labels(model, kind).inc()

    def observer(self, model: str, version: int) -> Observer:
        """Makes the observer of a version's batcher."""
        key = model, str(version)
        with self._lock:  # or it would fill series that are just being forgotten
            self._seen.add(key)
            sizes, ran = self._sizes.labels(*key), self._ran.labels(*key)
            queue, waited = self._queue.labels(*key), self._waited.labels(*key)

        def after(images: int, seconds: float) -> None:
            sizes.observe(images)
            ran.observe(seconds)

        return Observer(queued=queue.set, waited=waited.observe, ran=after)

    def render(self) -> bytes:
        """Renders the exposition, as text."""
        exposition = generate_latest(self.registry)
        self._forget()
        return exposition

    def _loaded_or_broken(self) -> Models:
        """Leaves out what was unloaded by request: that is gone, and no failure."""
        return {
            name: {v: slot for v, slot in slots.items() if not slot.unloaded}
            for name, slots in self.models().items()
        }

    def _forget(self) -> None:
        """Removes the series of what is gone for long."""
        with self._lock:
            now, models = time.monotonic(), self._loaded_or_broken()
            there = {("", "")} | {(m, str(v)) for m, slots in models.items() for v in ("", *slots)}
            self._gone = {key: self._gone.get(key, now) for key in set(self._seen) - there}
            for key in [k for k, since in self._gone.items() if now - since >= KEPT_SECONDS]:
                labels = dict(zip(_VERSION, key, strict=True))
                for metric in self._by_version:
                    metric.remove_by_labels(labels)
                if key[0] not in models:
                    self._loads.remove_by_labels({"model": key[0]})
                self._seen.discard(key)


class _Now(Collector):
    """The versions, and the counts of the request log, as they are when it is asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "visionline_version_state",
            "1 for the state that a version is in; END: it cannot be loaded.",
            labels=(*_VERSION, "state"),
        )
        seconds = GaugeMetricFamily(
            "visionline_version_load_seconds",
            "How long a version took until it was warm.",
            labels=(*_VERSION, "engine"),
        )
        for model, slots in self._metrics._loaded_or_broken().items():
            for version, slot in slots.items():
                state.add_metric((model, str(version), slot.state), 1)
                if slot.loaded is not None:
                    labels = model, str(version), slot.loaded.engine
                    seconds.add_metric(labels, slot.loaded.seconds)
        images = CounterMetricFamily(
            "visionline_request_log_images",
            "Images drawn for the request log, by what became of them.",
            labels=("outcome",),
        )
        for outcome, count in self._metrics.request_log().items():
            images.add_metric((outcome,), count)
        yield from (state, seconds, images)
