"""What a server is told, from a TOML file and flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from common.config.ranges import (
    DAY,
    MOST_THREADS,
    Rule,
    at_least,
    between,
    filled,
    matching,
    more_than,
    one_of,
    require,
)
from common.config.strict import Checked
from common.paths import check_text

Policy = Literal["latest", "all"]
Versions = Annotated[
    tuple[Annotated[int, at_least(1)], ...],
    Rule("versions such as [1, 3]", bool, {"minItems": 1}),
]
Count = Annotated[int, at_least(1)]
Seconds = Annotated[float, between(0.001, DAY)]
Megabytes = Annotated[float, more_than(0)]
Port = Annotated[int, between(0, 65535)]
Folder = Annotated[str, filled("a folder's name")]
Host = Annotated[str, matching(r"[^\[].*", "an address or a name, such as 127.0.0.1 or ::1")]
Origin = Annotated[
    str,
    matching(
        r"\*|(?!http://.*:80$)(?!https://.*:443$)"
        r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?",
        "an origin as browsers write it, such as https://app.example.com: in small letters, "
        'without a path, a slash at the end or the usual port; or "*"',
    ),
]
_BATCHES = tuple(1 << i for i in range(11))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingConfig(Checked):
    """How requests to one model are run together."""

    max_batch: Annotated[int, one_of(_BATCHES, "a power of two up to 1024")] = 32
    """The model is called with so many images at most; a power of two."""
    max_delay_ms: Annotated[float, between(0, 1000)] = 1.0
    """The first image of a batch waits so long for others."""
    queue: Count = 256
    """Images that may wait; more are refused at once."""

    def check(self) -> None:
        require(
            self.queue >= self.max_batch,
            f"queue: expected at least max_batch ({self.max_batch}), got {self.queue}.",
        )

    @property
    def buckets(self) -> tuple[int, ...]:
        """Returns the batch sizes that the model is run with: powers of two up to max_batch."""
        return tuple(1 << i for i in range(self.max_batch.bit_length()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Checked):
    """How one model is served."""

    engine: Literal["auto", "tensorflow", "onnx"] = "auto"
    """This engine runs the model; auto takes whichever is faster when a version is loaded."""
    policy: Policy | Versions = "latest"
    """Which versions are loaded: the latest, all, or these."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig(Checked):
    """What one request may ask for."""

    body_bytes: Count = 32 * 2**20
    """Of a request, also in gRPC."""
    pixels: Count = 50_000_000
    """Of one encoded image, as its header says."""
    request_pixels: Count = 200_000_000
    """Of the encoded images of one request together."""
    decoding_pixels: Count = 50_000_000
    """Of the images that are being decoded at a time, in the whole server; others wait."""
    queue_pixels: Count = 400_000_000
    """Of the encoded images that wait for one version; more are refused at once."""
    wait_seconds: Annotated[float, between(0, DAY)] = 10.0
    """For room to decode; then an image is refused."""
    server_body_bytes: Count = 128 * 2**20
    """Of the requests that are received and answered at a time; more are refused at once."""
    images: Count = 256
    """In one request."""
    concurrency: Count = 256
    """Requests at a time; more are refused at once."""
    timeout_seconds: Seconds = 30.0
    """For a request that brings no deadline."""
    header_seconds: Seconds = 10.0
    """For a client to send its request; slower ones are cut off."""

    def check(self) -> None:
        for key, below in (
            ("decoding_pixels", "pixels"),
            ("queue_pixels", "request_pixels"),
            ("server_body_bytes", "body_bytes"),
        ):
            limit, least = getattr(self, key), getattr(self, below)
            require(limit >= least, f"{key}: expected at least {below} ({least:,}), got {limit:,}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig(Checked):
    """Where the bearer tokens are; the environment may have them instead (`serving.auth`)."""

    token_file: str = ""
    """A file that holds the token alone; read at start."""
    control_token_file: str = ""
    """A file with the token for requests that load and unload; read at start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig(Checked):
    """The files that make both ports speak TLS; read at start."""

    certificate: str
    """PEM; the server's own first, then those that signed it."""
    key: str
    """PEM, not encrypted."""
    client_ca: str = ""
    """PEM; clients must then bring a certificate that one of these has signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLogConfig(Checked):
    """Which requests are kept, and how much of them."""

    folder: Folder
    """Made where it is missing."""
    sample: Annotated[float, between(0, 1)] = 0.01
    """Share of the answered requests, drawn at random."""
    max_file_megabytes: Megabytes = 64.0
    """Of one file; then the next is begun."""
    max_total_megabytes: Megabytes = 1024.0
    """Of all files of the folder; the oldest are removed."""
    flush_seconds: Annotated[float, more_than(0, at_most=DAY)] = 60.0
    """How long a file is written to before readers see it."""

    def check(self) -> None:
        check_text("folder", self.folder)
        require(
            self.max_total_megabytes >= self.max_file_megabytes,
            f"max_total_megabytes: expected at least max_file_megabytes "
            f"({self.max_file_megabytes:g}), got {self.max_total_megabytes:g}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig(Checked):
    """What is logged, a JSON object per line."""

    access: bool = True
    """A line per request but probes; loads and errors have one in any case."""
    file: str = ""
    """Appended to; "" is stderr."""

    def check(self) -> None:
        check_text("file", self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig(Checked):
    """Everything a server is told."""

    serving: Folder
    """The folder models are pushed to: <name>/<version>/."""
    host: Host = "127.0.0.1"
    """The server listens on this address."""
    port: Port = 8501
    """HTTP is served on this port; 0 takes a free one."""
    grpc_port: Port = 8500
    """gRPC is served on this port; 0 takes a free one."""
    poll_seconds: Annotated[float, between(0.01, DAY)] = 1.0
    """How often the folder is looked at."""
    drain_seconds: Annotated[float, between(0, DAY)] = 30.0
    """How long requests may take to finish when a version or the server goes."""
    threads: Annotated[int, between(0, MOST_THREADS)] = 0
    """The engines have so many threads; 0: one per CPU that the server may use."""
    control: bool = False
    """Whether everyone who may ask for a prediction may load and unload, too."""
    cors_origins: tuple[Origin, ...] = ()
    """The pages of these origins may ask from a browser; "*": those of all."""
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

    def check(self) -> None:
        require(
            self.port != self.grpc_port or self.port == 0,
            f"grpc_port: expected another than port, got {self.port} for both.",
        )

    def of(self, name: str) -> ModelConfig:
        return self.models.get(name, self.default)
