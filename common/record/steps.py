"""What is recorded of executions, besides the parameters that TFX records."""

from __future__ import annotations

from typing import Any

from common.record.record import Record, name_of, names_of, record


@record
class Step(Record):
    """Every execution."""

    run_id: str | None = None
    node_id: str | None = None
    duration_seconds: float | None = None
    error: str | None = None
    """Why it failed or was cancelled."""
    output_digests: dict[str, str] | None = None
    """SHA-256 over the files of each output, by URI, where the work was done."""
    cache_key: str | None = None
    """TFX's, in hexadecimal."""
    cache_parts: dict[str, Any] | None = None
    """What the key was made of, for [explain-cache](lineage-runs.md)."""


@record
class Data(Record):
    """ImageExampleGen."""

    config: dict[str, Any] | None = None
    resolved_path: str | None = None
    """The folder, manifest, archive or shards that the config's path led to."""
    span: int | None = None
    version: int | None = None
    input_fingerprint: str | None = None
    """Of the files to read: their paths, labels and contents."""
    split_counts: dict[str, int] | None = None
    """Images by split."""
    quarantined: int | None = None


@record
class Training(Record):
    """Trainer."""

    framework: str | None = None
    architecture: str | None = None
    task: str | None = None
    accelerator: str | None = None
    seed: int | None = None
    parameter_count: int | None = None
    hyper_parameters: dict[str, Any] | None = None
    code_digest: str | None = None
    """Of the training code, and of your own model, input and weights."""
    teacher: str | None = None
    """The model that it was distilled from: name@version."""
    teacher_digest: str | None = None
    """Of that model's files."""
    dataset_digest: str | None = None
    epochs_run: int | None = None
    best_epoch: int | None = None
    train_seconds: float | None = None
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    loss: float | None = None
    """These four: of the best epoch."""
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    parity_savedmodel: float | None = None
    """These three: largest difference of any score from the native model's, by format."""
    parity_savedmodel_bytes: float | None = None
    parity_onnx: float | None = None
    latency_onnx_ms: float | None = None
    """Of one image through ONNX Runtime, median."""


@record
class Inference(Record):
    """BulkInferrer and BaselineInferrer."""

    engine: str | None = None
    """That the scores were computed by."""
    images: int | None = None
    parity: float | None = None
    """Largest difference of any score from the SavedModel's own, on some of the images."""
    baseline_state: str | None = None
    """These two of BaselineInferrer: what the model is compared with, see
    [evaluation](evaluation.md)."""
    baseline_version: str | None = None


@record
class Verdict(Record):
    """Evaluator."""

    blessed: bool | None = None
    accuracy: float | None = None
    loss: float | None = None
    top_k_accuracy: float | None = None
    expected_calibration_error: float | None = None
    examples: int | None = None
    per_class: list[Any] | None = None
    """Examples, precision and recall of each class."""
    baseline_state: str | None = None
    """What it was compared with, see [evaluation](evaluation.md)."""
    baseline_version: str | None = None
    """Its name@version."""
    baseline_accuracy: float | None = None
    why_not_blessed: tuple[str, ...] = ()
    """The reasons, one a line."""
    failed_thresholds: list[Any] | None = None


@record
class Trial(Record):
    """InfraValidator."""

    blessed: bool | None = None
    skipped: str | None = None
    """Why the server was not asked."""
    why_not_blessed: str | None = None
    examples: int | None = None
    """Images that each protocol was asked about."""
    probes: int | None = None
    """Raw files of odd kinds that each protocol was asked about."""
    engine: str | None = None
    """That the server chose."""
    loading_seconds: float | None = None
    largest_difference: float | None = None
    """Of any score from the model's own."""
    rest_p50_ms: float | None = None
    """These four: of one image, see [infra validation](infra-validation.md)."""
    rest_p99_ms: float | None = None
    grpc_p50_ms: float | None = None
    grpc_p99_ms: float | None = None


@record
class PushOutcome(Record):
    """What came of a push, on the execution and on the PushedModel."""

    pushed: bool | None = None
    model_name: str | None = None
    pushed_version: int | None = None
    already_served: bool | None = None
    """The version was in serving before, and holds this very model."""
    why_not_pushed: tuple[str, ...] = ()
    """The reasons, one a line."""
    withdrawn_by: int | None = None
    """The version of the rollback for which a model is not pushed again."""


@record
class Push(PushOutcome):
    """Pusher."""

    destination: str | None = None
    removed_versions: str | None = None
    """Older ones that were removed after it."""


@record
class Rollback(Record):
    """A rollback, of type `visionline.Rollback`."""

    user: str | None = None
    when: str | None = None
    reason: str | None = None
    model_name: str | None = None
    pushed_version: int | None = None
    rolled_back_to: int | None = None
    """The older version that it is a copy of."""
    rolled_back_from: int | None = None


@record
class Parameters(Record):
    """Parameters of components, visionline's and TFX's own, that are read back from TFX's record.

    Those of ImageExampleGen are in `Data`.
    """

    config: dict[str, Any] | None = None
    custom_config: dict[str, Any] | None = None
    code_digest: str | None = None
    image_size: list[int] | None = None
    work_dir: str | None = None
    serving_dir: str | None = None
    serving_name: str | None = None
    comparison: str | None = None
    input_base: str | None = None
    eval_config: dict[str, Any] | None = None
    example_splits: list[str] | None = None
    train_args: dict[str, Any] | None = None
    eval_args: dict[str, Any] | None = None
    resolved_baseline: dict[str, Any] | None = None
    """What the candidate is compared with, as BaselineInferrer's driver found it."""
    must_push: bool | None = None
    """Set where there is something to push; such an execution is never taken from the cache."""


_PARAMETERS = names_of(
    Data.config, Data.span, Data.version, Data.input_fingerprint, Training.code_digest
)
RESULTS = {*names_of(Step, Data, Training, Inference, Verdict, Trial, Push)} - {*_PARAMETERS} | {
    name_of(Parameters.must_push)
}
"""What visionline adds to executions; no parameters."""
