"""What a deployment's pods may do, where they run and how many there are."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Demo
from deploy_config import OWN, TENSORFLOW, TMP, config, container, manifest, predictor
from helpers import EXAMPLES, ROOT, may_mount, wait_until
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.version import Version
from serving_server import serve

from common.errors import ConfigError
from pipeline.deploy.validate import validate
from pipeline.kubernetes.grammar import quantity

pytestmark = pytest.mark.quick

KNATIVE = {"mode": "knative", "version": 3}
BASES = pytest.mark.parametrize("base", [OWN, TENSORFLOW], ids=["visionline", "tensorflow"])


# What a container may do


@BASES
@pytest.mark.parametrize("mode", ["standard", "knative"])
def test_a_server_has_no_rights_and_writes_to_tmp_alone(base: dict[str, Any], mode: str) -> None:
    spec = predictor(base, mode=mode, version=3, user=70)
    server = spec.get("model") or spec["containers"][0]
    assert server["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 70,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert server["volumeMounts"][-1] == TMP
    assert spec["volumes"][-1] == {"name": "tmp", "emptyDir": {}}
    assert spec["automountServiceAccountToken"] is False
    assert "securityContext" not in spec, "Knative takes one of the pod with a feature flag alone"


def test_a_root_that_can_be_written_to_has_nothing_mounted() -> None:
    spec = predictor(storage="s3://bucket", version=3, read_only_root=False)
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is False
    assert "volumes" not in spec and "volumeMounts" not in spec["containers"][0]
    server = {"request_log": {"folder": "requests"}}
    assert predictor(read_only_root=False, server=server)


@pytest.mark.parametrize(
    ("server", "mounted"),
    [
        ({"request_log": {"folder": "/tmp/requests"}}, {"tmp": "/tmp"}),
        ({"log": {"file": "/tmp/log.txt"}}, {"tmp": "/tmp"}),
        ({"log": {"file": "/tmp/a b/log.txt"}}, {"tmp": "/tmp"}),
        (
            {"request_log": {"folder": "/requests/"}, "log": {"file": "/var/log/vision/a.log"}},
            {"tmp": "/tmp", "request-log": "/requests", "log": "/var/log/vision"},
        ),
        (
            {"request_log": {"folder": "/logs"}, "log": {"file": "/logs/a.log"}},
            {"tmp": "/tmp", "request-log": "/logs"},
        ),
    ],
)
def test_what_the_server_is_told_to_write_has_a_folder(
    server: dict[str, Any], mounted: dict[str, str]
) -> None:
    spec = predictor(storage="s3://bucket", version=3, server=server)
    mounts = spec["containers"][0]["volumeMounts"]
    assert {m["name"]: m["mountPath"] for m in mounts} == mounted
    assert spec["volumes"] == [{"name": name, "emptyDir": {}} for name in mounted]


@pytest.mark.parametrize(
    "path",
    ["requests", "/", "/var", "/dev/x", "/mnt/models/x", "/opt", "/tmp/../x", "/a b", "/a:b"],
)
def test_what_cannot_be_written_in_a_pod_is_refused(path: str) -> None:
    told = r"expected a path in a folder of its own.*got .*read_only_root"
    with pytest.raises(ConfigError, match=rf"server\.request_log\.folder: {told}"):
        config(server={"request_log": {"folder": path}})
    with pytest.raises(ConfigError, match=rf"server\.log\.file: {told}"):
        config(server={"log": {"file": f"{path.rstrip('/')}/log.txt"}})


def test_a_token_and_a_group_where_they_are_asked_for() -> None:
    spec = predictor(service_account_token=True, fs_group=2000)
    assert "automountServiceAccountToken" not in spec
    assert spec["securityContext"] == {"fsGroup": 2000}
    wrong = manifest(**KNATIVE)
    wrong["spec"]["predictor"]["automountServiceAccountToken"] = True
    with pytest.raises(ConfigError, match="Knative takes false alone"):
        validate(wrong)


if may_mount():

    def test_the_server_runs_where_it_can_write_to_tmp_alone(demo: Demo, tmp_path: Path) -> None:
        """The container's own arguments, on read-only files and with the models where they are."""
        server = {"request_log": {"folder": "/tmp/requests", "sample": 1.0, "flush_seconds": 1}}
        spec = predictor(name="digits-keras", version=1, server={**server, "threads": 1})
        shutil.copytree(demo.serving / "digits-keras", tmp_path / "serving" / "digits-keras")
        models, *flags = spec["containers"][0]["args"]
        ports = [str(p["containerPort"]) for p in spec["containers"][0]["ports"]]
        free = ["0" if flag in ports else flag for flag in flags]
        within = (sys.executable, str(ROOT / "tests" / "support" / "read_only_root.py"))
        log = tmp_path / "log"
        with serve(
            Path(models), log, *free, within=(*within, str(tmp_path / "serving"))
        ) as running:
            url = running.url.replace("0.0.0.0", "127.0.0.1")
            answer = httpx.post(f"{url}/predict", content=demo.kept[0].read_bytes())
            assert answer.status_code == 200, answer.text
            logged = 'visionline_request_log_images_total{outcome="logged"} 1.0'
            wait_until(lambda: logged in httpx.get(f"{url}/metrics").text, 10)
        assert "Read-only" not in log.read_text() and '"level"' not in log.read_text()


# Where pods run, and how many


def test_nodes_and_taints() -> None:
    found = predictor(
        node_selector={"cloud.google.com/gke-accelerator": "nvidia-l4"},
        tolerations=[
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "team", "value": "vision", "effect": "NoExecute", "seconds": 60},
            {"operator": "Exists"},
        ],
    )
    assert found["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert found["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {
            **{"key": "team", "operator": "Equal", "value": "vision"},
            **{"effect": "NoExecute", "tolerationSeconds": 60},
        },
        {"operator": "Exists"},
    ]


@pytest.mark.parametrize(
    ("mode", "scaling", "metric"),
    [
        ("standard", {"target": 60}, "cpu"),
        ("standard", {"metric": "memory", "target": 60}, "memory"),
        ("knative", {"target": 60}, "concurrency"),
        ("knative", {"metric": "rps", "target": 60}, "rps"),
    ],
)
@BASES
def test_more_pods_come_at_a_target_of_what_the_mode_watches(
    base: dict[str, Any], mode: str, scaling: dict[str, Any], metric: str
) -> None:
    found = predictor(base, mode=mode, version=3, max_replicas=4, scaling=scaling)
    assert (found["scaleMetric"], found["scaleTarget"]) == (metric, 60)
    assert "scaleMetric" not in predictor(base, mode=mode, version=3, max_replicas=4)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"scaling": {"metric": "cpu"}}, "scaling.target: expected one for metric = 'cpu'"),
        ({"scaling": {"metric": "gpu"}}, "expected one of 'cpu', 'memory'"),
        ({"scaling": {"target": 0}}, "scaling.target: expected 1 to 1000000, got 0"),
        ({"scaling": {"target": 101}, "max_replicas": 2}, "expected 1 to 100 percent, got 101"),
        (
            {"scaling": {"metric": "rps", "target": 5}, "max_replicas": 2},
            "scaling.metric: expected cpu or memory in standard mode, got 'rps'",
        ),
        (
            {**KNATIVE, "scaling": {"metric": "memory", "target": 5}, "max_replicas": 2},
            "scaling.metric: expected concurrency or rps in knative mode, got 'memory'",
        ),
        ({"scaling": {"target": 50}, "min_replicas": 3}, r"above min_replicas \(3\), got 3"),
        ({"fs_group": 0}, "fs_group: expected 1 to"),
        ({"node_selector": {"a b": "c"}}, "node_selector: expected a key that Kubernetes takes"),
        ({"node_selector": {"a": "b c"}}, "node_selector.a: expected at most 63 letters"),
        ({"tolerations": [{}]}, r"tolerations\[0\]\.key: expected the key of a taint"),
        ({"tolerations": [{"key": "a b"}]}, "expected a key that Kubernetes takes"),
        (
            {"tolerations": [{"key": "a", "value": "b", "operator": "Exists"}]},
            "none with 'Exists', got 'b'",
        ),
        ({"tolerations": [{"key": "a", "effect": "No"}]}, "expected one of 'NoSchedule'"),
        ({"tolerations": [{"key": "a", "seconds": 5}]}, "with effect = 'NoExecute', got 5"),
        ({"tolerations": [{"ky": "a"}]}, "Did you mean 'key'"),
        ({"resources": {"memory": "500m"}}, "m is a thousandth of a byte"),
        ({"resources": {"memory_limit": "9000000000n"}}, "memory_limit: expected bytes"),
        ({"resources": {"memory": "1ki"}}, "memory: expected an amount"),
        ({"resources": {"memory": "-1Gi"}}, "memory: expected an amount"),
    ],
)
def test_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**changed)


def test_what_knative_takes_only_with_features_is_told() -> None:
    (told,) = config(**KNATIVE).warnings
    assert told.endswith("config-features: kubernetes.podspec-persistent-volume-claim.")
    (told,) = config(
        {**OWN, "storage": "s3://bucket"},
        **KNATIVE,
        fs_group=5,
        node_selector={"a": "b"},
        tolerations=[{"key": "a"}],
    ).warnings
    flags = re.findall(r"kubernetes\.podspec-([a-z-]+)", told)
    assert flags == ["init-containers", "securitycontext", "nodeselector", "tolerations"]
    assert config(fs_group=5, node_selector={"a": "b"}).warnings == []


def test_rules_of_scaling_and_mounts_hold_for_any_manifest() -> None:
    wrong = manifest(max_replicas=2, scaling={"target": 50})
    wrong["spec"]["predictor"]["scaleMetric"] = "concurrency"
    with pytest.raises(ConfigError, match="scaleMetric: expected cpu or memory, got 'concurrency'"):
        validate(wrong)
    wrong = manifest()
    wrong["spec"]["predictor"]["containers"][0]["volumeMounts"].append(TMP)
    with pytest.raises(ConfigError, match="expected mounts in different folders"):
        validate(wrong)
    wrong = manifest(node_selector={"a": "b"})
    wrong["spec"]["predictor"]["nodeSelector"]["a"] = "b c"
    with pytest.raises(ConfigError, match="nodeSelector: expected labels of nodes"):
        validate(wrong)


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
TOLERATIONS = st.fixed_dictionaries(
    {"key": NAMES},
    optional={"value": NAMES, "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule"])},
)


@EXAMPLES
@given(
    st.sampled_from([OWN, TENSORFLOW]),
    st.sampled_from(["standard", "knative"]),
    st.fixed_dictionaries(
        {},
        optional={
            "fs_group": st.integers(1, 2**31 - 1),
            "service_account_token": st.booleans(),
            "read_only_root": st.booleans(),
            "node_selector": st.dictionaries(NAMES, NAMES, max_size=2),
            "tolerations": st.lists(TOLERATIONS, max_size=2),
            "max_unavailable": st.integers(1, 1000),
            "scaling": st.fixed_dictionaries({"target": st.integers(1, 100)}),
        },
    ),
)
def test_any_combination_is_valid(base: dict[str, Any], mode: str, changed: dict[str, Any]) -> None:
    manifest(base, mode=mode, version=3, max_replicas=3, **changed)


# TensorFlow Serving's release


def pinned(name: str, page: str) -> Version:
    (found,) = re.findall(rf"^{name}==(\S+)", (ROOT / "requirements" / page).read_text(), re.M)
    return Version(found)


def test_tensorflow_serving_is_of_the_release_that_saved_the_model() -> None:
    base = {k: v for k, v in TENSORFLOW.items() if k != "runtime_version"}
    tag = container(base, version=3)["runtimeVersion"]
    assert tag == importlib.metadata.version("tensorflow-serving-api")
    assert container(base, version=3, resources={"gpu": 1})["runtimeVersion"] == f"{tag}-gpu"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (tensorflow,) = (
        r.specifier for r in map(Requirement, project["dependencies"]) if r.name == "tensorflow"
    )
    (saved_by,) = (Version(s.version) for s in tensorflow)
    assert Version(tag).release[:2] == saved_by.release[:2]
    for page in ("dev.txt", "serving.txt", "pipeline-cpu.txt", "pipeline-cuda.txt"):
        served_by = pinned("tensorflow-serving-api", page)
        assert served_by.release[:2] == saved_by.release[:2], f"requirements/{page}"


# Amounts


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("512Ki", 512 * 2**10),
        ("1e9", 10**9),
        ("1E9", 10**9),
        ("1E", 10**18),
        ("1.", 1),
        (".5", Decimal("0.5")),
        ("+1", 1),
        ("-1", -1),
        ("500m", Decimal("0.5")),
        ("5u", Decimal("0.000005")),
        ("5n", Decimal("0.000000005")),
        ("1e-3", Decimal("0.001")),
        ("1.5Gi", 3 * 2**29),
    ],
)
def test_amounts(text: str, worth: Decimal) -> None:
    assert quantity(text) == worth


@pytest.mark.parametrize(
    "text",
    [
        *("", "1ki", "1K", "1KI", "1 Gi", "Gi", ".", "1e", "1e1.5", "1mi", "1GiB", "1kB", "0x1"),
        *("--1", "1,5", "١Gi", "1Gi\n", "NaN", "inf"),
    ],
)
def test_no_amounts(text: str) -> None:
    assert quantity(text) is None
