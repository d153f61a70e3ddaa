"""What is compiled for Kubeflow Pipelines, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import ROOT
from kubeflow_config import GOLDEN, config

from common.errors import ConfigError
from pipeline.kubeflow.compiler.compile import check, compile_pipeline, write_package
from pipeline.kubeflow.spec import arguments, ordered, read_package
from pipeline.kubeflow.step import PARAMETERS, task_name
from pipeline.kubeflow.words import unpacked


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    write_package(config(), path)
    return path


@pytest.fixture(scope="module")
def spec(package):
    return read_package(package).spec


def masked(text: str) -> str:
    """Without what changes with the code and the release."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<digest>", text)
    return re.sub(r"(?<=visionline-)\d+\.\d+\.\d+|(?<=- )\d+\.\d+\.\d+\n", "<release>", text)


def whole(text: str) -> Any:
    """The documents, with every packed text unpacked."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return masked(unpacked(value)) if isinstance(value, str) else value

    return walk(list(yaml.safe_load_all(text)))


def test_the_spec_is_the_one_that_is_kept(package):
    """Renew it with `PYTHONPATH=.:tests/support python tests/kubeflow/test_kubeflow_compile.py`."""
    assert whole(package.read_text()) == whole(GOLDEN.read_text())


def test_kfp_loads_it(package):
    from kfp import components

    component = components.load_component_from_text(package.read_text())
    inputs = component.pipeline_spec.root.input_definitions.parameters
    assert set(inputs) == set(PARAMETERS)


def test_parameters_have_the_config_as_defaults(spec):
    assert arguments(spec, {}) == {
        "data_path": "/mnt/visionline/images",
        "framework": "pytorch",
        "model": "small_cnn",
        "epochs": 3,
        "learning_rate": 0.001,
        "seed": 0,
        "baseline": "required",
    }
    assert arguments(spec, {"epochs": 5})["epochs"] == 5


def test_compiling_twice_gives_the_same(tmp_path, package):
    again = tmp_path / "again.yaml"
    write_package(config(), again)
    assert again.read_bytes() == package.read_bytes()


def test_what_a_task_does_not_need_is_not_in_its_cache_key(package, tmp_path):
    """Another number of epochs must not make the data steps run again."""
    other = tmp_path / "other.yaml"
    write_package(config(train__epochs=9, evaluate__min_accuracy=0.5), other)
    one, two = (yaml.safe_load(p.read_text().split("\n---\n")[0]) for p in (package, other))
    changed = {
        name
        for name, task in one["root"]["dag"]["tasks"].items()
        if task != two["root"]["dag"]["tasks"][name]
        or one["deploymentSpec"]["executors"][f"exec-{name}"]
        != two["deploymentSpec"]["executors"][f"exec-{name}"]
    }
    assert changed == {"trainer", "evaluator", "pusher"}


def test_what_depends_on_the_world_is_never_cached(spec):
    tasks = spec["root"]["dag"]["tasks"]
    never = {n for n, t in tasks.items() if not t["cachingOptions"].get("enableCache")}
    assert never == {"resolve-data", "baseline", "pusher"}


def test_every_component_is_there_in_order(spec):
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) >= {
        *("image-example-gen", "statistics-gen", "schema-gen", "example-validator"),
        *("transform", "trainer", "evaluator", "pusher"),
    }
    order = ordered(tasks)
    assert order.index("example-validator") < order.index("transform") < order.index("trainer")
    assert order[-1] == "pusher"


def test_resources_node_selectors_volumes_and_retries(package, spec):
    executors = spec["deploymentSpec"]["executors"]
    assert executors["exec-trainer"]["container"]["resources"] == {
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "1"},
        "resourceCpuLimit": "4",
        "resourceCpuRequest": "4",
        "resourceMemoryLimit": "16Gi",
        "resourceMemoryRequest": "16Gi",
    }
    assert executors["exec-transform"]["container"]["resources"]["resourceCpuLimit"] == "1"
    assert {e["container"]["image"] for e in executors.values()} == {
        "registry.example/visionline:1"
    }
    assert {t["retryPolicy"]["maxRetryCount"] for t in spec["root"]["dag"]["tasks"].values()} == {2}
    assert spec["defaultPipelineRoot"] == "s3://bucket/artifacts"
    platform = list(yaml.safe_load_all(package.read_text()))[1]
    asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(asked) == set(executors)
    mount = {"constant": "visionline", "mountPath": "/mnt/visionline"}
    assert asked["exec-trainer"] == {
        "nodeSelector": {"labels": {"disk": "ssd", "gpu": "a100"}},
        "pvcMount": [mount],
    }
    assert read_package(package).volumes == {"/mnt/visionline": "visionline"}


def test_a_frozen_schema_travels_in_the_spec(tmp_path):
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "label" type: BYTES }\n')
    spec, _ = compile_pipeline(config(schema={"frozen": str(schema)}))
    check(spec, {})
    parameters = spec["root"]["dag"]["tasks"]["schema-gen"]["inputs"]["parameters"]
    texts = {k: unpacked(v["runtimeValue"]["constant"]) for k, v in parameters.items()}
    assert texts["schema_text"] == schema.read_text()
    assert str(tmp_path) not in str(texts)


def test_nothing_of_this_machine_is_in_the_spec(package):
    text = package.read_text()
    assert str(Path.cwd()) not in text and str(ROOT) not in text and "/tmp/tmp" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kubeflow__image": None}, "Which image?"),
        ({"kubeflow__image": "an image"}, "image: expected the name"),
        ({"kubeflow__pipeline_root": "ftp://x/y"}, "pipeline_root: expected minio://"),
        ({"kubeflow__pipeline_root": "/data"}, "pipeline_root: expected minio://"),
        ({"kubeflow__pipeline_root": "s3://"}, "pipeline_root: expected minio://"),
        ({"kubeflow__retries": -1}, "retries: expected 0 to 100"),
        ({"kubeflow__volumes": []}, "data.path: expected a path on a volume"),
        ({"data__path": "/elsewhere"}, "data.path: expected a path on a volume"),
        ({"data__class_names": "/elsewhere"}, "data.class_names: expected a path on a volume"),
        ({"data__path": "/mnt/visionline/../etc"}, "data.path: expected a path on a volume"),
        ({"push__destination": None}, "push.destination: expected a folder on a volume"),
        ({"push__destination": "/elsewhere"}, "push.destination: expected a path on a volume"),
        ({"train__pretrained": str(GOLDEN)}, "train.pretrained: expected a path on a volume"),
        ({"kubeflow__resources": {"Trainr": {}}}, "no such component. Did you mean 'Trainer'"),
        ({"kubeflow__resources": {"Trainer": {"cpu": "many"}}}, "cpu: expected an amount"),
        ({"kubeflow__resources": {"Trainer": {"gpu": -1}}}, "gpu: expected 0 to 1024"),
        ({"kubeflow__volumes": [{"claim": "A_b", "mount": "/x"}]}, "claim: expected the name"),
        ({"kubeflow__volumes": [{"claim": "a", "mount": "x"}]}, "mount: expected an absolute"),
        ({"kubeflow__volums": []}, "Did you mean 'volumes'"),
    ],
)
def test_what_a_cluster_cannot_run_is_refused(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message).replace(r"\ ", " ")):
        compile_pipeline(config(**changes))


@pytest.mark.parametrize(
    ("id_", "name"), [("ImageExampleGen", "image-example-gen"), ("A_b.C", "a-b-c")]
)
def test_task_names(id_, name):
    assert task_name(id_) == name


if __name__ == "__main__":
    write_package(config(), GOLDEN)
    GOLDEN.write_text(masked(GOLDEN.read_text()))
