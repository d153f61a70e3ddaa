"""What a server is told, from a TOML file and flags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from common.config.ranges import require
from common.paths import check_text

Policy = Literal["latest", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingConfig:
    """How requests to one model are run together."""

    max_batch: int = 32
    """The model is called with so many images at most; a power of two."""
    max_delay_ms: float = 1.0
    """The first image of a batch waits so long for others."""
    queue: int = 256
    """Images that may wait; more are refused at once."""

    def __post_init__(self) -> None:
        power = self.max_batch > 0 and self.max_batch & (self.max_batch - 1) == 0
        require(power, f"max_batch: expected a power of two, got {self.max_batch}.")
        require(self.max_batch <= 1024, f"max_batch: expected at most 1024, got {self.max_batch}.")
        require(
            0 <= self.max_delay_ms <= 1000,
            f"max_delay_ms: expected 0 to 1000, got {self.max_delay_ms:g}.",
        )
        require(
            self.queue >= self.max_batch,
            f"queue: expected at least max_batch ({self.max_batch}), got {self.queue}.",
        )

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes the model is run with: powers of two up to max_batch."""
        return tuple(1 << i for i in range(self.max_batch.bit_length()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """How one model is served."""

    engine: Literal["auto", "tensorflow", "onnx"] = "auto"
    """This engine runs the model; auto takes whichever is faster when a version is loaded."""
    policy: Policy | tuple[int, ...] = "latest"
    """Which versions are loaded: the latest, all, or these."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)

    def __post_init__(self) -> None:
        if isinstance(self.policy, tuple):
            require(
                bool(self.policy) and min(self.policy) >= 1,
                f"policy: expected versions such as [1, 3], got {list(self.policy)}.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What one request may ask for."""

    body_bytes: int = 32 * 2**20
    """Of a request, also in gRPC."""
    pixels: int = 50_000_000
    """Of one encoded image, as its header says."""
    request_pixels: int = 200_000_000
    """Of the encoded images of one request together."""
    decoding_pixels: int = 50_000_000
    """Of the images that are being decoded at a time, in the whole server; others wait."""
    queue_pixels: int = 400_000_000
    """Of the encoded images that wait for one version; more are refused at once."""
    wait_seconds: float = 10.0
    """For room to decode; then an image is refused."""
    server_body_bytes: int = 128 * 2**20
    """Of the requests that are received and answered at a time; more are refused at once."""
    images: int = 256
    """In one request."""
    concurrency: int = 256
    """Requests at a time; more are refused at once."""
    timeout_seconds: float = 30.0
    """For a request that brings no deadline."""
    header_seconds: float = 10.0
    """For a client to send its request; slower ones are cut off."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            least = 1 if isinstance(value, int) else 0 if limit.name == "wait_seconds" else 0.001
            require(
                math.isfinite(value) and value >= least,
                f"{limit.name}: expected {least:g} or more, got {value:g}.",
            )
        for key, below in (
            ("decoding_pixels", "pixels"),
            ("queue_pixels", "request_pixels"),
            ("server_body_bytes", "body_bytes"),
        ):
            given, needed = getattr(self, key), getattr(self, below)
            require(
                given >= needed, f"{key}: expected at least {below} ({needed:,}), got {given:,}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Where the bearer tokens are; the environment may have them instead (`serving.auth`)."""

    token_file: str = ""
    """A file that holds the token alone; read at start."""
    control_token_file: str = ""
    """A file with the token for requests that load and unload; read at start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """The files that make both ports speak TLS; read at start."""

    certificate: str
    """PEM; the server's own first, then those that signed it."""
    key: str
    """PEM, not encrypted."""
    client_ca: str = ""
    """PEM; clients must then bring a certificate that one of these has signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLogConfig:
    """Which requests are kept, and how much of them."""

    folder: str
    """Made where it is missing."""
    sample: float = 0.01
    """Share of the answered requests, drawn at random."""
    max_file_megabytes: float = 64.0
    """Of one file; then the next is begun."""
    max_total_megabytes: float = 1024.0
    """Of all files of the folder; the oldest are removed."""
    flush_seconds: float = 60.0
    """How long a file is written to before readers see it."""

    def __post_init__(self) -> None:
        require(bool(self.folder), "folder: expected a folder's name, got ''.")
        check_text("folder", self.folder)
        require(0 <= self.sample <= 1, f"sample: expected 0 to 1, got {self.sample:g}.")
        for key in ("max_file_megabytes", "max_total_megabytes", "flush_seconds"):
            value = getattr(self, key)
            require(
                math.isfinite(value) and value > 0, f"{key}: expected more than 0, got {value:g}."
            )
        require(
            self.max_total_megabytes >= self.max_file_megabytes,
            f"max_total_megabytes: expected at least max_file_megabytes "
            f"({self.max_file_megabytes:g}), got {self.max_total_megabytes:g}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is logged, a JSON object per line."""

    access: bool = True
    """A line per request; loads and errors have one in any case."""
    file: str = ""
    """Appended to; "" is stderr."""

    def __post_init__(self) -> None:
        check_text("file", self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Everything a server is told."""

    serving: str
    """The folder models are pushed to: <name>/<version>/."""
    host: str = "127.0.0.1"
    """The server listens on this address."""
    port: int = 8501
    """HTTP is served on this port; 0 takes a free one."""
    grpc_port: int = 8500
    """gRPC is served on this port; 0 takes a free one."""
    poll_seconds: float = 1.0
    """How often the folder is looked at."""
    drain_seconds: float = 30.0
    """How long requests may take to finish when a version or the server goes."""
    threads: int = 0
    """The engines have so many threads; 0: one per CPU that the server may use."""
    control: bool = False
    """Whether everyone who may ask for a prediction may load and unload, too."""
    default: ModelConfig = field(default_factory=ModelConfig)
    """Of the models that have no table of their own."""
    models: dict[str, ModelConfig] = field(default_factory=dict)
    """By name."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    tls: TlsConfig | None = None
    """None: both ports speak in the clear."""
    request_log: RequestLogConfig | None = None
    """None: no request is kept."""
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        require(bool(self.serving), "serving: expected a folder's name, got ''.")
        require(
            bool(self.host) and self.host[0] != "[",
            f"host: expected an address or a name, such as 127.0.0.1 or ::1, got {self.host!r}.",
        )
        for key in ("port", "grpc_port"):
            value = getattr(self, key)
            require(0 <= value < 65536, f"{key}: expected 0 to 65535, got {value}.")
        require(
            self.port != self.grpc_port or self.port == 0,
            f"grpc_port: expected another than port, got {self.port} for both.",
        )
        require(
            0.01 <= self.poll_seconds <= 86400,
            f"poll_seconds: expected 0.01 to 86400, got {self.poll_seconds:g}.",
        )
        require(
            0 <= self.drain_seconds <= 86400,
            f"drain_seconds: expected 0 to 86400, got {self.drain_seconds:g}.",
        )
        require(0 <= self.threads <= 1024, f"threads: expected 0 to 1024, got {self.threads}.")

    def of(self, name: str) -> ModelConfig:
        models: Mapping[str, ModelConfig] = self.models
        return models.get(name, self.default)
