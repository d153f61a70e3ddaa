"""What tasks ask of Kubernetes, through kfp-kubernetes' own spec; and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as pb
from kubeflow_config import config

from common.errors import ConfigError
from pipeline.kubeflow.compiler.compile import compile_pipeline, write_package

POD = {
    "env": {"HTTPS_PROXY": "http://proxy:3128"},
    "secret_env": {"TOKEN": "access/token", "USER_NAME": "access/user", "KEY": "other.one/key"},
    "secret_files": {"/etc/access": "access"},
    "image_pull_secrets": ["registry"],
    "image_pull_policy": "Always",
    "tolerations": [
        {"key": "gpu", "value": "only", "effect": "NoSchedule"},
        {"key": "lost", "operator": "Exists", "effect": "NoExecute", "seconds": 60},
        {"operator": "Exists"},
    ],
    "affinity": [
        {"key": "zone", "values": ["a", "b"]},
        {"key": "spot", "operator": "DoesNotExist"},
        {"key": "disk", "values": ["ssd"], "weight": 10},
    ],
    "timeout_seconds": 7200,
    "shared_memory": "2Gi",
    "labels": {"team": "vision"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "user": 1000,
    "group": 0,
}


def executors(**changes: Any) -> dict[str, Any]:
    spec, platform = compile_pipeline(config(**changes))
    asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in asked.values():
        json_format.ParseDict(executor, pb.KubernetesExecutorConfig())
    return {"spec": spec["deploymentSpec"]["executors"], "platform": asked}


def test_everything_a_pod_can_be_asked_for():
    both = executors(kubeflow__pod=POD)
    for name, asked in both["platform"].items():
        assert asked["secretAsEnv"] == [
            {
                "secretName": "access",
                "optional": False,
                "keyToEnv": [
                    {"secretKey": "token", "envVar": "TOKEN"},
                    {"secretKey": "user", "envVar": "USER_NAME"},
                ],
            },
            {
                "secretName": "other.one",
                "optional": False,
                "keyToEnv": [{"secretKey": "key", "envVar": "KEY"}],
            },
        ]
        assert asked["secretAsVolume"] == [
            {"secretName": "access", "mountPath": "/etc/access", "optional": False}
        ]
        assert asked["imagePullSecret"] == [{"secretName": "registry"}]
        assert asked["imagePullPolicy"] == "Always"
        assert asked["tolerations"] == [
            {"key": "gpu", "operator": "Equal", "value": "only", "effect": "NoSchedule"},
            {"key": "lost", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"},
            {"operator": "Exists"},
        ]
        assert asked["nodeAffinity"] == [
            {
                "matchExpressions": [
                    {"key": "zone", "operator": "In", "values": ["a", "b"]},
                    {"key": "spot", "operator": "DoesNotExist"},
                ]
            },
            {
                "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}],
                "weight": 10,
            },
        ]
        assert asked["activeDeadlineSeconds"] == "7200"
        assert asked["enabledSharedMemory"] == {"volumeName": "shm", "size": "2Gi"}
        assert asked["podMetadata"] == {
            "labels": {"team": "vision"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        }
        assert asked["securityContext"] == {"runAsUser": "1000", "runAsGroup": "0"}
        container = both["spec"][name]["container"]
        assert container["env"] == [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]


def test_a_task_s_own_goes_on_top():
    own = {"env": {"B": "2"}, "timeout_seconds": 60, "tolerations": [{"operator": "Exists"}]}
    both = executors(
        kubeflow__pod={"env": {"A": "1", "B": "1"}, "timeout_seconds": 9, "labels": {"a": "b"}},
        kubeflow__pods={"Trainer": own, "baseline": {"labels": {"c": "d"}}},
    )
    env = {
        n: {e["name"]: e["value"] for e in x["container"]["env"]} for n, x in both["spec"].items()
    }
    assert env["exec-trainer"] == {"A": "1", "B": "2"}
    assert env["exec-transform"] == {"A": "1", "B": "1"}
    asked = both["platform"]
    assert asked["exec-trainer"]["activeDeadlineSeconds"] == "60"
    assert asked["exec-trainer"]["tolerations"] == [{"operator": "Exists"}]
    assert "tolerations" not in asked["exec-transform"]
    assert asked["exec-baseline"]["podMetadata"]["labels"] == {"a": "b", "c": "d"}


def test_small_tasks_ask_for_little():
    both = executors()
    little = {"resourceCpuRequest": "100m", "resourceMemoryRequest": "256Mi"}
    for name in ("exec-baseline", "exec-resolve-data"):
        assert both["spec"][name]["container"]["resources"] == little
        assert both["platform"][name]["nodeSelector"] == {"labels": {"disk": "ssd"}}
    more = executors(kubeflow__resources={"baseline": {"memory": "1Gi"}})
    assert more["spec"]["exec-baseline"]["container"]["resources"] == {
        "resourceMemoryRequest": "1Gi",
        "resourceMemoryLimit": "1Gi",
    }


def test_retries_have_no_deadline_of_an_hour():
    spec, _ = compile_pipeline(config())
    for task in spec["root"]["dag"]["tasks"].values():
        assert task["retryPolicy"]["maxRetryCount"] == 2
        assert int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s")) > 365 * 86400


@pytest.mark.parametrize("image", ["a/b@sha256:" + "0" * 64, "host:5000/a/b:1", "a"])
def test_an_image_by_tag_or_digest(image, tmp_path):
    write_package(config(kubeflow__image=image), tmp_path / "x.yaml")
    spec = next(yaml.safe_load_all((tmp_path / "x.yaml").read_text()))
    assert spec["deploymentSpec"]["executors"]["exec-pusher"]["container"]["image"] == image


@pytest.mark.parametrize("amount", ["512Ki", "1e9", "1.5Gi", "128974848", "4G", "100M"])
def test_kubernetes_own_amounts(amount):
    executors(kubeflow__resources={"Trainer": {"memory": amount}})


@pytest.mark.parametrize(
    ("table", "value", "message"),
    [
        ("resources", {"Trainer": {"memory": "1ki"}}, "memory: expected an amount"),
        ("resources", {"Trainer": {"memory": "500m"}}, "memory: expected bytes"),
        ("resources", {"Trainer": {"memory": "0"}}, "memory: expected an amount"),
        ("resources", {"Trainer": {"cpu": "-1"}}, "cpu: expected an amount"),
        ("resources", {"Trainer": {"gpu": 5000}}, "gpu: expected 0 to 1024"),
        (
            "resources",
            {"Trainer": {"gpu_type": "a b"}},
            "gpu_type: expected a key that Kubernetes takes",
        ),
        ("retries", 2**40, "retries: expected 0 to 100"),
        ("pod", {"service_account": "x"}, "submit --service-account"),
        ("pod", {"env": {"A B": "x"}}, "env: expected letters, digits and _"),
        ("pod", {"env": {"A": "$(B)"}}, "env.A: expected a text without $"),
        ("pod", {"env": {"A": "x"}, "secret_env": {"A": "x/y"}}, "stands in secret_env too"),
        ("pod", {"secret_env": {"A": "x"}}, 'secret_env.A: expected "SECRET/KEY"'),
        ("pod", {"secret_env": {"A": "x/y/z"}}, 'secret_env.A: expected "SECRET/KEY"'),
        ("pod", {"secret_files": {"etc": "x"}}, "secret_files: expected an absolute path"),
        ("pod", {"secret_files": {"/etc/x": "X_"}}, "secret_files./etc/x: expected the name"),
        ("pod", {"secret_files": {"/mnt/visionline/": "x"}}, "is where a volume is mounted"),
        ("pod", {"image_pull_policy": "never"}, "image_pull_policy"),
        ("pod", {"image_pull_secrets": ["A"]}, "image_pull_secrets[0]: expected the name"),
        ("pod", {"timeout_seconds": 0}, "timeout_seconds: expected 1 to"),
        ("pod", {"timeout_seconds": 2**40}, "timeout_seconds: expected 1 to"),
        ("pod", {"shared_memory": "big"}, "shared_memory: expected an amount"),
        ("pod", {"labels": {"a b": "c"}}, "labels: expected a key that Kubernetes takes"),
        ("pod", {"labels": {"a": "b c"}}, "labels.a: expected at most 63"),
        ("pod", {"annotations": {"a": "{{x}}"}}, "annotations.a: expected a text without $"),
        ("pod", {"user": -1}, "user: expected 0 to"),
        (
            "pod",
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "none with",
        ),
        ("pod", {"tolerations": [{"value": "b"}]}, "key: expected the key of a taint"),
        (
            "pod",
            {"tolerations": [{"key": "a", "seconds": 3}]},
            "seconds: expected none, or some with effect",
        ),
        ("pod", {"affinity": [{"key": "a"}]}, "values: In takes one or more, got 0"),
        ("pod", {"affinity": [{"key": "a", "values": ["b"], "weight": 101}]}, "weight: expected"),
        ("pods", {"Trainr": {}}, "kubeflow.pods.Trainr: there is no such component"),
        ("node_selector", {"a": "b c"}, "node_selector.a: expected at most 63"),
        ("image", "{{x}}", "image: expected a text without $"),
        ("pipeline_root", "s3://b/$x", "pipeline_root: expected a text without $"),
    ],
)
def test_what_kubernetes_does_not_take_is_refused(table, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        compile_pipeline(config(**{f"kubeflow__{table}": value}))


@pytest.mark.parametrize(
    "mount",
    [
        *("/minio", "/s3/", "/gcs", "/tmp", "/.local", "/.cache", "/.config", "/kfp-launcher"),
        *("/kfp-workspace", "/kfp-workspace/a", "/minio/a", "/s3/a/b", "/kfp-launcher/x"),
    ],
)
def test_a_mount_over_the_launcher_s_own(mount):
    with pytest.raises(ConfigError, match="is Kubeflow's own in every task"):
        config(kubeflow__volumes=[{"claim": "a", "mount": mount}])


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([{"claim": "a.b", "mount": "/a"}], "which takes no dots"),
        ([{"claim": "a" * 64, "mount": "/a"}], "at most 63"),
        ([{"claim": "a", "mount": "/a$$b"}], "mount: expected a text without $"),
        ([{"claim": "a", "mount": "/a"}, {"claim": "b", "mount": "/a"}], "each mount once"),
        ([{"claim": "a", "mount": "/a"}, {"claim": "b", "mount": "/a/"}], "each mount once"),
        ([{"claim": "a", "mount": "/a"}, {"claim": "a", "mount": "/b"}], "each claim once"),
    ],
)
def test_volumes_that_no_pod_can_have(volumes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        config(kubeflow__volumes=volumes)


@pytest.mark.parametrize(
    ("name", "is_taken"), [("a" * 63, True), ("a" * 64, False), ("a" * 100, False), ("é", False)]
)
def test_names_of_pipelines(name, is_taken, tmp_path):
    asked = config(pipeline=name) if name.isascii() else None
    if is_taken:
        write_package(asked, tmp_path / "x.yaml")
        return
    with pytest.raises(ConfigError):
        compile_pipeline(asked or config(pipeline=name))
