"""Metadata stores of many runs, as TFX and visionline write them.

    PYTHONPATH=. python benchmarks/lineage_stores.py --runs 1000 /tmp/bench/1000

writes metadata.sqlite, and the newest version folders of each model below serving/.  One
pipeline trains several models.  New images come every 30 runs or so; every step is
reused when it ran before with the same inputs and parameters, as TFX's cache does.
About 10% of the runs repeat an earlier one and are reused whole, 5% fail, 15% of the
models are not blessed.  The same seed and folder give the same store.
"""

from __future__ import annotations

import argparse
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import lineage_steps as steps
from benchmarks.lineage_steps import NODES, PIPELINE, TYPES, Plan, digest
from benchmarks.mlmd_rows import CACHED, COMPLETE, FAILED, INPUT, INTERNAL_OUTPUT, OUTPUT, Rows
from common.record import kinds
from common.record import run as run_record
from common.record.artifacts import Blessing, Pushed
from common.record.record import name_of
from common.record.steps import Push, PushOutcome, Step, Verdict

BEGIN = datetime(2025, 1, 1, 6, tzinfo=UTC)
KEPT_VERSIONS = 5
"""Version folders by model that were not cleared away."""
WORDS = ("birds", "cars", "crops", "digits", "dishes", "insects", "leaves", "shells", "signs")
FAILURES = {
    kinds.EXAMPLE_VALIDATOR: "The data has anomalies: label: unexpected value 'unicorn'.",
    kinds.TRAINER: "Out of memory: the training was killed. Try a smaller batch size.",
    kinds.EVALUATOR: "No room left on the disk. Free some, then run the same command again.",
}


@dataclass(slots=True)
class Work:
    """An execution that others may reuse."""

    artifacts: dict[str, int]
    """By output."""
    annotated: dict[str, Any]
    """What a cached execution is given, too."""


@dataclass(slots=True)
class Run:
    plan: Plan
    id: str
    context: int
    now: int
    """Milliseconds since the epoch."""
    artifacts: dict[str, int] = field(default_factory=dict)
    """By Node.key."""
    baseline: int | None = None
    """Model that the new one is compared with."""


class Generator:
    """See the module.

    Args:
      run_ids: whether executions say which run they belong to, as visionline's do.
      data_runs: after about so many runs there are new images.
    """

    def __init__(
        self, folder: Path, seed: int, names: int, *, run_ids: bool = True, data_runs: int = 30
    ) -> None:
        self._root = str(folder.absolute())
        self._rows = Rows(folder / "metadata.sqlite", TYPES)
        self._random = random.Random(seed)
        self._run_ids = run_ids
        self._data_runs = data_runs
        self._names = [f"{w}-{f}" for w in WORDS for f in ("keras", "pytorch")][:names]
        self._now = int(BEGIN.timestamp() * 1000)
        self._pipeline = self._rows.context(kinds.PIPELINE, PIPELINE, self._now, self._now)
        self._nodes = {
            n: self._rows.context(kinds.NODE, f"{PIPELINE}.{n}", self._now, self._now)
            for n in NODES
        }
        self._cache: dict[str, Work] = {}
        self._cache_contexts: dict[str, int] = {}
        self._model_uri: dict[int, str] = {}
        self._blessed: set[int] = set()
        """Blessing artifacts."""
        self._pushed: dict[str, list[int]] = {n: [] for n in self._names}
        """Model artifacts by name, in the order of versions."""
        self._last: dict[str, Plan] = {}
        """Of the last run that did not fail, by name."""
        self._data = self._commit = self._lock = self._trainer_code = self._transform_code = 0
        self._packages = steps.packages()

    def write(self, runs: int) -> None:
        for _ in range(runs):
            self._run()
        self._rows.close()
        for name, models in self._pushed.items():
            for version in range(1, len(models) + 1)[-KEPT_VERSIONS:]:
                Path(self._destination(name, version)).mkdir(parents=True)

    def _run(self) -> None:
        chance = self._random.random
        self._data += chance() < 1 / self._data_runs
        self._commit += chance() < 1 / 10
        self._trainer_code += chance() < 1 / 100
        self._transform_code += chance() < 1 / 400
        if chance() < 1 / 200:
            self._lock += 1
            self._packages[self._random.choice(list(self._packages))] = f"1.{self._lock}.0"
        name = self._random.choice(self._names)
        again = self._last.get(name) if chance() < 0.1 else None
        fails = self._random.choice(list(FAILURES)) if chance() < 0.065 else None
        began = self._now + 1000 + int(self._random.expovariate(1 / 600) * 1000)
        run = Run(again or self._plan(name), _run_id(began), self._rows.reserve("Context"), began)
        error = None
        for node in NODES:
            # What is reused cannot fail.
            if node == fails and self._key(node, run) not in self._cache:
                error = self._fail(node, run)
                break
            self._step(node, run)
        self._now = run.now
        record = steps.run_record(run.plan, self._packages)
        if not self._run_ids:
            record = replace(record, pipeline=None)
        if error is None:
            self._last[name] = run.plan
            data = digest("data", run.plan.data)
            record = replace(
                record, state=run_record.COMPLETE, accelerator="cpu", dataset_digest=data
            )
        else:
            record = replace(record, state=run_record.FAILED, error=error)
        custom = replace(record, duration_seconds=(run.now - began) / 1000).properties()
        self._rows.context(kinds.RUN, run.id, began, run.now, custom, id_=run.context)

    def _plan(self, name: str) -> Plan:
        pick = self._random.choice
        train = {
            "augment": {
                **{"brightness": pick((0.0, 0.1)), "contrast": 0.0, "crop_padding": 0.125},
                **{"horizontal_flip": True, "rotation": pick((0.0, 10.0)), "saturation": 0.0},
            },
            **{"batch_size": pick((32, 64, 128)), "class_weights": "none"},
            **{"early_stopping_patience": 0, "epochs": pick((10, 20, 40))},
            **{"framework": name.rpartition("-")[2], "label_smoothing": pick((0.0, 0.1))},
            **{"learning_rate": pick((0.0003, 0.001, 0.003)), "model": pick(("resnet18", "mine"))},
            **{"model_args": {}, "momentum": 0.9, "optimizer": "adamw", "pretrained": None},
            **{"seed": self._random.randrange(10_000), "threads": 0, "warmup_epochs": 1.0},
            "weight_decay": 0.0001,
        }
        older = self._data > 0 and self._random.random() < 0.1
        return Plan(
            name=name,
            root=self._root,
            data=self._data - older,
            train=train,
            image_size=(64, 96, 224)[self._names.index(name) // 2 % 3],
            transform_code=self._transform_code,
            trainer_code=self._trainer_code,
            commit=self._commit,
            lock=self._lock,
        )

    def _key(self, node: str, run: Run) -> str:
        """Of TFX's cache: a digest of node, parameters and inputs."""
        inputs = [run.artifacts[source] for source in NODES[node].inputs.values()]
        data = run.plan.data if node == kinds.IMAGE_EXAMPLE_GEN else None
        baseline = run.baseline if node == kinds.EVALUATOR else None
        return digest(node, steps.parameters(node, run.plan), inputs, data, baseline)

    def _step(self, node: str, run: Run) -> None:
        if node == kinds.BASELINE:
            self._resolve(run)
            return
        key = self._key(node, run)
        began = run.now
        work = self._cache.get(key)
        if work is not None:
            run.now += self._random.randrange(10, 60)
            id_ = self._rows.reserve("Execution")
            self._execution(id_, node, run, CACHED, began, work.annotated)
        else:
            run.now += int(NODES[node].seconds * self._random.uniform(600, 1500)) + 20
            id_ = self._rows.reserve("Execution")
            found, described = self._results(node, run)
            work = self._cache[key] = Work({}, found if node == kinds.EVALUATOR else {})
            for output, kind in NODES[node].outputs.items():
                custom, typed = steps.artifact_properties(kind, run.plan)
                custom |= described.get(output, ({}, {}))[0]
                typed |= described.get(output, ({}, {}))[1]
                uri = f"{self._root}/artifacts/{node}/{output}/{id_}"
                work.artifacts[output] = self._rows.artifact(kind, uri, run.now, custom, typed)
                if kind == kinds.MODEL:
                    self._model_uri[work.artifacts[output]] = uri
            if node == kinds.EVALUATOR and found[name_of(Verdict.blessed)]:
                self._blessed.add(work.artifacts["blessing"])
            uris = (f"{self._root}/artifacts/{node}/{output}/{id_}" for output in work.artifacts)
            digests = Step(output_digests={uri: digest(uri) for uri in uris})
            self._execution(id_, node, run, COMPLETE, began, found | digests.properties())
        for output, artifact in work.artifacts.items():
            self._rows.event(id_, artifact, OUTPUT, output, run.now)
            for context in self._contexts(node, run, key):
                self._rows.attribute(context, artifact)
        run.artifacts |= {f"{node}.{output}": id_ for output, id_ in work.artifacts.items()}

    def _fail(self, node: str, run: Run) -> str:
        began = run.now
        run.now += int(NODES[node].seconds * self._random.uniform(100, 900)) + 20
        id_ = self._rows.reserve("Execution")
        self._execution(id_, node, run, FAILED, began, Step(error=FAILURES[node]).properties())
        return f"{node}: {FAILURES[node]}"

    def _resolve(self, run: Run) -> None:
        """TFX's Resolver: its outputs are events of a kind of their own."""
        others = (m for m in reversed(self._pushed[run.plan.name]) if m != self._model(run))
        run.baseline = next(others, None)
        id_ = self._rows.reserve("Execution")
        resolver = NODES[kinds.BASELINE].type
        self._rows.execution(resolver, COMPLETE, self._uuid(), run.now, run.now + 3, {}, id_=id_)
        for context in (self._pipeline, run.context, self._nodes[kinds.BASELINE]):
            self._rows.associate(context, id_)
            if run.baseline is not None:
                self._rows.attribute(context, run.baseline)
        if run.baseline is not None:
            self._rows.event(id_, run.baseline, INTERNAL_OUTPUT, "model", run.now + 3)

    def _execution(
        self,
        id_: int,
        node: str,
        run: Run,
        state: int,
        began: int,
        found: Mapping[str, Any],
    ) -> None:
        """An execution with its inputs."""
        custom = {**steps.parameters(node, run.plan), **found}
        custom |= Step(duration_seconds=(run.now - began) / 1000).properties()
        if self._run_ids:
            custom |= Step(run_id=run.id, node_id=node).properties()
        kind = NODES[node].type
        self._rows.execution(kind, state, self._uuid(), began, run.now, custom, id_=id_)
        inputs = {key: run.artifacts[source] for key, source in NODES[node].inputs.items()}
        if node == kinds.EVALUATOR and run.baseline is not None:
            inputs["baseline_model"] = run.baseline
        contexts = self._contexts(node, run, self._key(node, run))
        for context in contexts:
            self._rows.associate(context, id_)
        for key, artifact in inputs.items():
            self._rows.event(id_, artifact, INPUT, key, began)
            for context in contexts[:-1]:
                self._rows.attribute(context, artifact)

    def _contexts(self, node: str, run: Run, key: str) -> tuple[int, ...]:
        """Of pipeline, run, node and cache."""
        if key not in self._cache_contexts:
            self._cache_contexts[key] = self._rows.context(kinds.CACHE, key, run.now, run.now)
        return (self._pipeline, run.context, self._nodes[node], self._cache_contexts[key])

    def _results(self, node: str, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a step found, and further properties of its outputs: (custom, of the type)."""
        plan = run.plan
        if node == kinds.IMAGE_EXAMPLE_GEN:
            return steps.ingested(plan), {"examples": steps.raw_examples(plan)}
        if node == kinds.ARRAY_GEN:
            return {}, {"arrays": ({}, {steps.SPLIT_NAMES: steps.SPLITS})}
        if node == kinds.TRAINER:
            return steps.trained(plan, self._random.uniform(0.8, 0.98)), {}
        if node == kinds.EVALUATOR:
            blessed = self._random.random() > 0.15
            accuracy = round(self._random.uniform(0.82, 0.99) - (0.2 if not blessed else 0), 6)
            blessing = Blessing(blessed=blessed, current_model_id=self._model(run))
            found = steps.judged(plan, accuracy, blessed, self._random)
            if run.baseline is not None:
                served = round(self._random.uniform(0.8, 0.9), 6)
                found |= Verdict(baseline_accuracy=served).properties()
                uri = self._model_uri[run.baseline]
                blessing = replace(blessing, baseline_model=uri, baseline_model_id=run.baseline)
            model = {"current_model": self._model_uri[self._model(run)], **blessing.properties()}
            return found, {"blessing": (model, {})}
        if node == kinds.PUSHER:
            return self._push(run)
        return {}, {}

    def _push(self, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        if run.artifacts["Evaluator.blessing"] not in self._blessed:
            nothing = PushOutcome(pushed=False).properties()
            return nothing, {"pushed_model": (nothing, {})}
        name, model = run.plan.name, self._model(run)
        pushed = self._pushed[name]
        if pushed[-1:] != [model]:
            pushed.append(model)
        version = len(pushed)
        where = self._destination(name, version)
        found = PushOutcome(model_name=name, pushed=True, pushed_version=version).properties()
        custom = found | Pushed(model_id=model, pushed_destination=where).properties()
        return found | Push(destination=where).properties(), {"pushed_model": (custom, {})}

    def _model(self, run: Run) -> int:
        return run.artifacts["Trainer.model"]

    def _destination(self, name: str, version: int) -> str:
        return f"{self._root}/serving/{name}/{version}"

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def generate(
    folder: Path, runs: int, *, seed: int = 0, names: int | None = None, **options: Any
) -> Path:
    """Writes a store and returns the path of its metadata.sqlite.

    Args:
      names: of models; by default 5 to 18, more in a larger store.
      options: see `Generator`.
    """
    names = min(5 + runs // 2500, 2 * len(WORDS)) if names is None else names
    Generator(folder, seed, names, **options).write(runs)
    return folder / "metadata.sqlite"


def main() -> None:
    parser = argparse.ArgumentParser(description="A metadata store of many runs.")
    parser.add_argument("folder", type=Path, help="where it goes")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without-run-ids",
        action="store_true",
        help="executions do not name their run, as in stores of other pipelines",
    )
    parser.add_argument("--data-runs", type=int, default=30, help="runs between new images")
    options = parser.parse_args()
    began = time.monotonic()
    path = generate(
        options.folder,
        options.runs,
        seed=options.seed,
        run_ids=not options.without_run_ids,
        data_runs=options.data_runs,
    )
    size = path.stat().st_size / 1e6
    print(f"{path}: {options.runs:,} runs, {size:,.0f} MB, {time.monotonic() - began:.1f} s")


def _run_id(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y%m%d-%H%M%S.%f")


if __name__ == "__main__":
    main()
