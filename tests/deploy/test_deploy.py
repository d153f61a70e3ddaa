"""Models on Kubernetes: what is rendered, what is refused, and what kubectl gets."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import pytest
import yaml
from conftest import Cli, Demo
from deploy_config import (
    FLAGS,
    OWN,
    TENSORFLOW,
    TMP,
    config,
    container,
    deploy,
    kubectl,
    levels,
    manifest,
    predictor,
    root,
)
from helpers import EXAMPLES, python
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kubernetes.utils import parse_quantity
from numbered_pushes import push
from ruamel.yaml import YAML
from serving_server import serve

from common.config.strict import parse
from common.config.toml_file import overlay, settings
from common.errors import ConfigError, DataError
from common.yaml_text import to_yaml
from modelstore.artifact import PushManifest
from pipeline.deploy import memory
from pipeline.deploy.config import DeployConfig, load_config, service_name
from pipeline.deploy.model import Model, choose
from pipeline.deploy.render import render
from pipeline.deploy.server import arguments
from pipeline.deploy.storage import parse_storage
from pipeline.deploy.validate import _FORMATS, schema, validate
from pipeline.kubernetes.grammar import quantity
from scripts.kserve_fields import properties
from serving.config import LimitsConfig, ServeConfig
from serving.memory import memory_bytes

pytestmark = pytest.mark.quick


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for _ in range(2):
        push(tmp_path)
    return tmp_path / "serving" / "m"


# What is rendered


def test_a_claim_is_mounted_where_the_server_looks() -> None:
    follows = predictor()
    assert follows["volumes"] == [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mount, tmp = follows["containers"][0]["volumeMounts"]
    assert tmp == TMP
    assert mount == {
        **{"name": "models", "readOnly": True},
        **{"mountPath": "/mnt/models/digits", "subPath": "serving/digits"},
    }
    pinned = container(version=3)["volumeMounts"][0]
    assert pinned["mountPath"] == "/mnt/models/digits/3"
    assert pinned["subPath"] == "serving/digits/3"
    assert "storageUris" not in follows


def test_a_bucket_is_copied_to_where_the_server_looks() -> None:
    own = predictor(storage="gs://bucket/deep/serving/", version=3, name="Digits_A")
    assert own["storageUris"] == [
        {"uri": "gs://bucket/deep/serving/Digits_A/3/", "mountPath": "/mnt/models/digits-a/3"}
    ]
    other = predictor(TENSORFLOW, version=3)
    assert other["storageUris"] == [
        {"uri": "s3://bucket/serving/digits/3/", "mountPath": "/mnt/models/3"}
    ]
    assert own["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert own["containers"][0]["volumeMounts"] == [TMP]


def test_tensorflow_serving_gets_numbered_folders_on_a_claim_too() -> None:
    base = {**TENSORFLOW, "storage": "pvc://models"}
    follows = container(base)["volumeMounts"][0]
    assert (follows["mountPath"], follows["subPath"]) == ("/mnt/models", "digits")
    pinned = container(base, version=3)["volumeMounts"][0]
    assert (pinned["mountPath"], pinned["subPath"]) == ("/mnt/models/3", "digits/3")


def test_tensorflow_is_a_model_for_kserves_runtime() -> None:
    model = container(TENSORFLOW, version=3)
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert (model["runtimeVersion"], model["protocolVersion"]) == ("2.19.1", "v1")
    assert model["readinessProbe"]["httpGet"] == {"path": "/v1/models/digits", "port": 8080}
    grpc = container(TENSORFLOW, version=3, protocol="grpc", mode="knative")
    assert grpc["protocolVersion"] == "grpc-v1"
    assert [(p["name"], p["containerPort"]) for p in grpc["ports"]] == [("h2c", 9000)]


@pytest.mark.parametrize(
    ("mode", "protocol", "ports"),
    [
        ("standard", "http", [("http1", 8501), ("h2c", 8500)]),
        ("standard", "grpc", [("h2c", 8500), ("http1", 8501)]),
        ("knative", "http", [("http1", 8501)]),
        ("knative", "grpc", [("h2c", 8500)]),
    ],
)
def test_the_first_port_is_the_protocols_and_knative_gets_no_other(
    mode: str, protocol: str, ports: list[tuple[str, int]]
) -> None:
    found = container(mode=mode, protocol=protocol)["ports"]
    assert [(p["name"], p["containerPort"]) for p in found] == ports


def test_resources_replicas_and_the_rest() -> None:
    found = manifest(
        **{"namespace": "vision", "service_account": "reader", "min_replicas": 2},
        **{"max_replicas": 5, "token_secret": "token", "token_key": "bearer", "user": 70},
        **{"labels": {"team": "a"}, "annotations": {"example.com/x": "y"}},
        resources={"cpu": "500m", "cpu_limit": "2", "memory": "1Gi", "gpu": 1},
    )
    assert found["metadata"]["namespace"] == "vision"
    assert found["metadata"]["labels"]["team"] == "a"
    assert found["metadata"]["annotations"]["example.com/x"] == "y"
    spec = found["spec"]["predictor"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["serviceAccountName"] == "reader"
    server = spec["containers"][0]
    assert server["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"},
    }
    (token,) = server["env"]
    assert token["name"] == "VISIONLINE_SERVE_TOKEN" and "value" not in token
    assert token["valueFrom"]["secretKeyRef"] == {"name": "token", "key": "bearer"}
    safe = server["securityContext"]
    assert (safe["runAsUser"], safe["runAsNonRoot"]) == (70, True)


def test_a_canary_is_a_share_for_a_version_of_its_own() -> None:
    found = manifest(mode="knative", version=4, canary_percent=10)
    assert found["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert found["metadata"]["labels"]["visionline/version"] == "4"
    rest = manifest(mode="knative", version=4)
    del found["spec"]["predictor"]["canaryTrafficPercent"]
    assert found == rest, "promoting it makes no other revision"


@pytest.mark.parametrize(
    ("model", "service"),
    [
        ("digits-keras", "digits-keras"),
        ("Digits_Keras.v2", "digits-keras-v2"),
        ("a__b", "a-b"),
        ("m" * 53, "m" * 53),
        ("a_", "a"),
    ],
)
def test_names_become_those_that_kubernetes_takes(model: str, service: str) -> None:
    assert service_name(model) == service


@pytest.mark.parametrize("model", ["2nd", "m" * 54, "---"])
def test_names_that_cannot_be_used_are_refused(model: str) -> None:
    with pytest.raises(ConfigError, match="Name one with --service"):
        manifest(name=model)
    assert manifest(name=model, service="good")["metadata"]["name"] == "good"


def test_names_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="too long for the namespace"):
        manifest(name="m" * 40, namespace="a-namespace-of-its-own")
    with pytest.raises(ConfigError, match="too long for version"):
        manifest(name="m" * 44, version=10**10, storage="s3://bucket")


def test_any_key_of_the_server_becomes_an_argument_that_it_reads_back() -> None:
    given = {
        "drain_seconds": 12.5,
        "control": True,
        "limits": {"images": 16, "timeout_seconds": 2.0},
        "default": {"engine": "onnx", "policy": [1, 3], "batching": {"max_batch": 8}},
        "models": {"digits": {"engine": "tensorflow"}},
        "request_log": {"folder": '/tmp/$(HOME) "ä\\$$', "sample": 1e-05},
        "log": {"access": False},
    }
    args = container(server=given)["args"]
    texts = [a.replace("$$", "$") for flag, a in itertools.pairwise(args) if flag == "--set"]
    data: dict[str, Any] = {"serving": args[0], "host": "0.0.0.0"}
    overlay(data, settings(texts))
    assert parse(ServeConfig, data) == config(server=given).served
    assert "$(HOME)" not in "".join(args).replace("$$", "")
    with pytest.raises(ConfigError, match=r"server\.models\.other: the pod serves 'digits' alone"):
        manifest(server={"models": {"other": {}}})
    with pytest.raises(ConfigError, match="server: is for runtime = 'visionline'"):
        config(TENSORFLOW, server={"threads": 1})


def test_a_key_with_a_dot_in_it_is_quoted_for_the_server() -> None:
    server = {"models": {"digits.v2": {"engine": "onnx"}}}
    texts = arguments(server, 1)[-1:]
    assert texts == ['models."digits.v2".engine="onnx"']
    data: dict[str, Any] = {}
    overlay(data, settings(texts))
    assert data == server


@pytest.mark.parametrize(
    ("resources", "server", "threads"),
    [
        ({}, {}, 1),
        ({"cpu": "500m"}, {}, 1),
        ({"cpu": "1500m"}, {}, 2),
        ({"cpu": "500m", "cpu_limit": "3"}, {}, 3),
        ({"cpu": "8"}, {"threads": 2}, 2),
        ({"cpu": "8"}, {"threads": 0}, 8),
    ],
)
def test_threads_are_those_of_the_cpus_that_are_set_aside(
    resources: dict[str, str], server: dict[str, Any], threads: int
) -> None:
    args = container(resources=resources, server=server)["args"]
    assert args[args.index("--threads") + 1] == str(threads)
    assert args.count("--threads") == 1 and not any(a.startswith("threads=") for a in args)


def test_a_pod_answers_until_its_address_is_gone_and_then_has_time_to_drain() -> None:
    spec = predictor(pre_stop_seconds=7, server={"drain_seconds": 60.5})
    wait = {"preStop": {"exec": {"command": ["sleep", "7"]}}}
    assert spec["containers"][0]["lifecycle"] == wait
    assert spec["terminationGracePeriodSeconds"] == 7 + 61 + 10
    assert predictor()["terminationGracePeriodSeconds"] == 5 + 30 + 10
    assert "lifecycle" not in container(pre_stop_seconds=0)
    other = predictor(TENSORFLOW, version=3, pre_stop_seconds=7)
    assert other["model"]["lifecycle"] == wait and other["terminationGracePeriodSeconds"] == 37
    for base in (OWN, TENSORFLOW):
        knative = predictor(base, mode="knative", version=3)
        assert "terminationGracePeriodSeconds" not in knative
        assert "lifecycle" not in container(base, mode="knative", version=3)
    wrong = manifest(pre_stop_seconds=7)
    wrong["spec"]["predictor"]["terminationGracePeriodSeconds"] = 7
    with pytest.raises(ConfigError, match="expected more than the 7 s of preStop, got 7"):
        validate(wrong)
    wrong["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
    with pytest.raises(ConfigError, match="Knative has its own"):
        validate(wrong)


def test_memory_is_what_the_limits_and_the_model_need() -> None:
    def given(size: int | None = None, **changed: Any) -> tuple[str, str, list[str]]:
        loaded = config(**changed)
        model = Model(name="digits", version=3, manifest=None, size=size)
        amounts = memory.memory(loaded, model)
        container = render(loaded, model)["spec"]["predictor"]["containers"][0]
        assert container["resources"]["limits"]["memory"] == amounts[1]
        return *amounts, memory.warnings(loaded, model)

    needed = f"{-(-memory_bytes(LimitsConfig(), 10**8) // 2**20)}Mi"
    assert given(10**8) == (needed, needed, [])
    fewer = {"limits": {"pixels": 10**6, "request_pixels": 10**7, "decoding_pixels": 10**6}}
    less, _, said = given(10**8, server=fewer)
    assert quantity(less) < quantity(needed) and said == []  # type: ignore[operator]
    _, limit, (said_one,) = given(10**8, resources={"memory": "1Gi"})
    assert limit == "1Gi" and "has 1Gi of memory" in said_one and f"may take {needed}" in said_one
    request, limit, (said_one,) = given(10**8, resources={"memory_limit": "1Gi"})
    assert (request, limit) == ("1Gi", "1Gi") and "has 1Gi of memory" in said_one
    assert given(10**8, resources={"memory_limit": "64Gi"}) == (needed, "64Gi", [])
    (said_one,) = given(None)[2]
    assert "the model cannot be read here (--serving)" in said_one
    assert container(TENSORFLOW, version=3)["resources"]["limits"]["memory"] == "2Gi"


def test_who_may_load_and_unload_has_a_secret_of_their_own() -> None:
    env = container(token_secret="a", control_token_secret="b", control_token_key="k")["env"]
    found = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in env}
    assert found == {
        "VISIONLINE_SERVE_TOKEN": {"name": "a", "key": "token"},
        "VISIONLINE_SERVE_CONTROL_TOKEN": {"name": "b", "key": "k"},
    }
    assert "env" not in container()


def test_probes_speak_tls_where_the_server_does() -> None:
    found = container(server={"tls": {"certificate": "/c.pem", "key": "/k.pem"}})
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert found[probe]["httpGet"]["scheme"] == "HTTPS"
        assert "scheme" not in container()[probe]["httpGet"]


# Which version


def test_a_bucket_gets_the_latest_of_the_local_folder_and_its_lineage(folder: Path) -> None:
    bucket = config(storage="s3://bucket/serving")
    model = choose(bucket, "m", folder)
    assert (model.version, model.manifest) == (2, PushManifest.read(folder / "2"))
    said = render(bucket, model)["metadata"]["annotations"]
    assert said["visionline/model"] == "m" and said["visionline/run"] == "x"
    assert choose(config(storage="s3://bucket", version=1), "m", folder).version == 1
    one, size = (
        sum(f.stat().st_size for f in (folder / v).rglob("*") if f.is_file()) for v in "12"
    )
    follows = choose(config(), "m", folder)
    assert follows == Model(name="m", version=None, manifest=None, size=size)
    everything = choose(config(server={"default": {"policy": "all"}}), "m", folder)
    assert everything.size == one + size
    assert choose(config(version=7), "m", None).manifest is None


def test_a_version_must_be_known_where_it_cannot_be_guessed(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Name it with --version"):
        choose(config(storage="s3://bucket/serving"), "m", None)
    with pytest.raises(ConfigError, match="must not serve the same"):
        choose(config(mode="knative", canary_percent=5), "m", folder)
    with pytest.raises(DataError, match=r"no version 9\. There are: 1, 2\."):
        choose(config(version=9), "m", folder)
    (folder / "2" / "part-0").write_text("x")
    with pytest.raises(DataError, match=r"version 2 is damaged \(part-0: changed\)"):
        choose(config(version=2), "m", folder)


# What a config may say


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"storage": "http://x/y"}, "expected s3://BUCKET"),
        ({"storage": "build/serving"}, "expected s3://BUCKET"),
        ({"storage": "s3://"}, "no name of a bucket"),
        ({"storage": "pvc://Models/x"}, "no name of a claim"),
        ({"storage": "pvc://models/a/../b"}, "expected a plain path"),
        ({"storage": "s3://bucket/a b"}, "expected a plain path"),
        ({"storage": "s3://bucket//a"}, "expected a plain path"),
        ({"image": None}, "expected the image of visionline's server"),
        ({"image": "UPPER/x:y z"}, "expected NAME:TAG"),
        ({"image": "a:b:c"}, "expected NAME:TAG"),
        ({"runtime_version": "2.1"}, "is for runtime = 'tensorflow'"),
        ({"runtime": "triton"}, "expected one of 'visionline', 'tensorflow'"),
        ({"canary_percent": 101, "mode": "knative"}, "expected 0 to 100, got 101"),
        ({"canary_percent": -1, "mode": "knative"}, "expected 0 to 100, got -1"),
        ({"canary_percent": 5}, "in knative mode alone"),
        ({"min_replicas": 0}, "does not scale to 0"),
        ({"min_replicas": 3, "max_replicas": 2}, r"min_replicas \(3\) or more, got 2"),
        ({"min_replicas": 0, "max_replicas": 0, "mode": "knative"}, "expected 1 to 1000"),
        ({"service": "Big"}, "lower-case letters"),
        ({"service": "2nd"}, "first a letter"),
        ({"namespace": "a.b"}, "namespace: expected a name"),
        ({"token_secret": "a_b"}, "token_secret: expected the name of a Secret"),
        ({"token_key": "a/b"}, "token_key: expected"),
        ({"user": 0}, "user: expected 1"),
        ({"version": 0}, "version: expected 1"),
        ({"startup_seconds": 1}, "expected 10 to 3600"),
        ({"labels": {"a b": "c"}}, "labels: expected a key that Kubernetes takes"),
        ({"labels": {"a": "b c"}}, "labels.a: expected"),
        ({"annotations": {"visionline/run": "x"}}, "neither visionline nor KServe writes"),
        ({"annotations": {"serving.kserve.io/deploymentMode": "x"}}, "neither visionline nor"),
        ({"resources": {"cpu": "two"}}, "cpu: expected an amount"),
        ({"resources": {"memory": "2 Gi"}}, "memory: expected an amount"),
        ({"resources": {"memory": "0"}}, "memory: expected an amount"),
        ({"resources": {"memory": "2Gi", "memory_limit": "1Mi"}}, r"memory \(2Gi\), got 1Mi"),
        ({"server": {"limit": {}}}, r"server\.limit\. Did you mean 'limits'"),
        ({"server": {"limits": {"images": "2"}}}, "server.limits.images: expected int, got '2'"),
        ({"server": {"limits": {"images": 0}}}, "server.limits.images: expected 1 or more, got 0"),
        (
            {"server": {"default": {"batching": {"max_batch": 3}}}},
            "a power of two up to 1024, got 3",
        ),
        ({"server": {"drain_seconds": float("nan")}}, "server.drain_seconds: expected 0 to"),
        ({"server": {"threads": -1}}, "server.threads: expected 0"),
        ({"server": {"port": 80}}, "server.port: the ports are fixed"),
        ({"server": {"grpc_port": 80}}, "server.grpc_port: the ports are fixed"),
        ({"server": {"host": "::"}}, "server.host: a pod listens"),
        ({"server": {"serving": "/x"}}, "server.serving: storage says"),
        ({"server": {"auth": {"token_file": "x"}}}, "server.auth: name a Secret"),
        (
            {"server": {"tls": {"certificate": "c", "key": "k", "client_ca": "a"}}},
            "server.tls.client_ca: Kubernetes' probes",
        ),
        ({"pre_stop_seconds": -1}, "pre_stop_seconds: expected 0 to 600"),
        ({"control_token_secret": "a_b"}, "control_token_secret: expected the name"),
        ({"control_token_key": ""}, "control_token_key: expected"),
        ({"resources": {"gpu": -1}}, "gpu: expected 0"),
        ({"resources": {"cpus": "1"}}, "Did you mean 'cpu'"),
        ({"imag": "x"}, "Did you mean 'image'"),
    ],
)
def test_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**changed)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"runtime_version": "latest"}, "expected the tag of tensorflow/serving"),
        ({"image": "a:1"}, "is for runtime = 'visionline'"),
        ({"token_secret": "token"}, "is for runtime = 'visionline'"),
        ({"resources": {"gpu": 1}}, "expected a tag with -gpu"),
        ({"runtime_version": "2.19.1-gpu"}, "expected a tag without -gpu"),
    ],
)
def test_refused_for_tensorflow(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(TENSORFLOW, **changed)


@pytest.mark.parametrize(
    ("image", "warned"),
    [
        ("a/b", True),
        ("localhost:5000/b:latest", True),
        ("localhost:5000/b", True),
        ("a/b:1", False),
        (f"a/b@sha256:{'0' * 64}", False),
        (f"a/b:latest@sha256:{'0' * 64}", False),
    ],
)
def test_images_that_change_are_warned_of(image: str, warned: bool) -> None:
    assert bool(config(image=image).warnings) == warned


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[deploy]\nstorag = 1", r"deploy\.storag\. Did you mean 'storage'"),
        ("[deploy]\nimage = 'a:1'", "say where the cluster finds the serving folder"),
        ("[data]\npath = 'x'", r"expected the table \[deploy\] alone, got data too"),
        ("deploy = 3", "expected a table"),
        ("[deploy", "not valid TOML"),
        ("[deploy.limits]\nimages = 1", r"key of the server: deploy\.server\.limits"),
        ("[deploy]\nserver = 3", "deploy.server: expected a table"),
        (None, "Cannot read the config"),
    ],
)
def test_files_that_cannot_be_used(text: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "deploy.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_config(path, {})


@EXAMPLES
@given(st.text() | st.from_regex(r"(s3|gs|pvc|S3)://[a-zA-Z0-9./_ -]*", fullmatch=True))
def test_a_storage_uri_is_taken_or_refused_and_leads_nowhere_else(text: str) -> None:
    try:
        found = parse_storage(text)
    except ConfigError:
        return
    uri = found.uri("m", "1")
    assert uri == f"{text.removesuffix('/')}/m/1/"
    assert parse_storage(uri).below() == found.below("m", "1")
    assert not {"", ".", ".."} & set(found.below("m").split("/"))


@EXAMPLES
@given(st.text("0123456789.numkKMGTPEie+-", max_size=7))
def test_amounts_are_worth_what_kubernetes_own_client_says(text: str) -> None:
    found = quantity(text)
    if found is not None:
        assert found == parse_quantity(text)


# The schema


def test_the_fields_are_those_of_the_installed_kubernetes_client() -> None:
    compared = 0
    for name, definition in schema()["$defs"].items():
        cls = getattr(kubernetes.client, name, None)
        if cls is not None:
            assert definition["properties"] == properties(cls), "run scripts/kserve_fields.py"
            assert definition["additionalProperties"] is False
            compared += 1
    assert compared > 90
    assert f"kubernetes {kubernetes.__version__} (Apache-2.0)" in schema()["origin"]["from"]


def test_the_schema_is_one_and_every_format_of_it_has_a_check() -> None:
    Draft202012Validator.check_schema(schema())
    formats = re.findall(r'"format": "([^"]+)"', json.dumps(schema()))
    assert set(formats) == set(_FORMATS)


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


FULL = {
    **{"namespace": "vision", "service_account": "reader", "token_secret": "token"},
    **{"version": 3, "min_replicas": 1, "max_replicas": 4},
}


@pytest.mark.parametrize(
    "found",
    [manifest(**FULL), manifest(TENSORFLOW, version=3, mode="knative", canary_percent=5)],
    ids=["visionline", "tensorflow"],
)
def test_a_misspelt_field_is_refused_at_every_level(found: dict[str, Any]) -> None:
    places = list(levels(root(found), found))
    assert len(places) >= 15
    for _, path in places:
        for key in at(found, path):
            wrong = copy.deepcopy(found)
            inside = at(wrong, path)
            inside[f"{key}x"] = inside.pop(key)
            with pytest.raises(ConfigError) as refused:
                validate(wrong)
            if (path, key) not in (((), "apiVersion"), ((), "kind")):
                assert f"{key}x: unknown field" in str(refused.value)
                assert f"Did you mean {key!r}?" in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("kind",), "InferenceServise", "unknown kind 'InferenceServise'"),
        (("kind",), "Deployment", "unknown kind 'Deployment'"),
        (("apiVersion",), "serving.kserve.io/v1", "unknown kind 'InferenceService' of apiVersion"),
        (("metadata", "name"), "2nd", "begin with a letter"),
        (("metadata", "name"), "A", "lower-case"),
        (("metadata", "labels", "a b"), "c", "metadata.labels: expected"),
        (("metadata", "labels", "version"), 3, "expected a text, got 3"),
        (("metadata", "annotations", "serving.kserve.io/deploymentMode"), "Raw", "deploymentMode"),
        (("spec", "predictor", "minReplicas"), "1", "expected an integer, got '1'"),
        (("spec", "predictor", "minReplicas"), 1.0, "expected an integer, got 1.0"),
        (("spec", "predictor", "minReplicas"), True, "expected an integer, got True"),
        (("spec", "predictor", "minReplicas"), 9, "minReplicas <= maxReplicas"),
        (("spec", "predictor", "canaryTrafficPercent"), 10, "without effect in the mode Standard"),
        (("spec", "predictor", "model"), {"modelFormat": {}}, "either model or containers"),
        (("spec", "predictor", "containers"), [], "either model or containers"),
        (("spec", "predictor", "containers"), {}, "expected a list"),
        (("spec", "predictor", "volumes"), [], "no volume is called 'models'"),
        (("spec", "predictor", "containers", 0, "image"), 5, "expected a text, got 5"),
        (("spec", "predictor", "containers", 0, "args"), "x", "expected a list"),
        (("spec", "predictor", "containers", 0, "ports", 0, "containerPort"), 0, "1 to 65535"),
        (("spec", "predictor", "containers", 0, "resources", "limits", "cpu"), "x", "amounts"),
        (("spec", "predictor", "containers", 0, "readinessProbe"), [], "expected a table"),
        (("metadata", "creationTimestamp"), "now", "datetime cannot be checked here"),
    ],
)
def test_wrong_values_are_refused(path: tuple[Any, ...], value: Any, told: str) -> None:
    wrong = manifest(**FULL)
    at(wrong, path[:-1])[path[-1]] = value
    with pytest.raises(ConfigError, match=told):
        validate(wrong)


def test_missing_fields_and_other_documents_are_refused() -> None:
    wrong = manifest()
    del wrong["spec"]["predictor"]["containers"][0]["name"]
    del wrong["spec"]["predictor"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    with pytest.raises(ConfigError) as refused:
        validate(wrong)
    assert "containers[0].name: required by V1Container" in str(refused.value)
    assert "claimName: required" in str(refused.value)
    two_ports = manifest(mode="knative")
    ports = two_ports["spec"]["predictor"]["containers"][0]["ports"]
    ports.append({"name": "h2c", "containerPort": 8500})
    with pytest.raises(ConfigError, match="Knative takes one port, got 2"):
        validate(two_ports)
    for document in (None, [], "x", {}, {"kind": "List"}):
        with pytest.raises(ConfigError, match="not valid"):
            validate(document)


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
AMOUNTS = st.sampled_from(["500m", "1", "2", "0.5", "1Gi", "2G", "512Mi", "1e3"])
BYTES = st.sampled_from(["1Gi", "2G", "512Mi", "0.5Gi", "1e9", "512Ki"])


SERVERS = st.fixed_dictionaries(
    {},
    optional={
        "drain_seconds": st.floats(0, 600),
        "control": st.booleans(),
        "threads": st.integers(0, 64),
        "limits": st.fixed_dictionaries({}, optional={"images": st.integers(1, 10**6)}),
        "request_log": st.fixed_dictionaries(
            {"folder": st.text(max_size=9).map("/tmp/x{}".format)}
        ),
    },
)


@st.composite
def configs(draw: st.DrawFn) -> DeployConfig:
    runtime = draw(st.sampled_from(["visionline", "tensorflow"]))
    mode = draw(st.sampled_from(["standard", "knative"]))
    gpu = draw(st.integers(0, 2))
    low = draw(st.integers(0 if mode == "knative" else 1, 4))
    scheme = draw(st.sampled_from(["s3", "gs", "pvc"]))
    path = draw(st.lists(NAMES, max_size=3))
    found: dict[str, Any] = {
        "storage": "/".join([f"{scheme}://store", *path]),
        "runtime": runtime,
        "mode": mode,
        "protocol": draw(st.sampled_from(["http", "grpc"])),
        "min_replicas": low,
        "max_replicas": draw(st.none() | st.integers(max(1, low), 9)),
        "version": draw(st.integers(1, 10**6)),
        "service": draw(st.none() | NAMES),
        "namespace": draw(st.none() | NAMES),
        "service_account": draw(st.none() | NAMES),
        "startup_seconds": draw(st.integers(10, 3600)),
        "labels": draw(st.dictionaries(NAMES, NAMES, max_size=2)),
        "annotations": draw(st.dictionaries(NAMES, st.text(max_size=20), max_size=2)),
        "resources": {"cpu": draw(AMOUNTS), "memory": draw(BYTES), "gpu": gpu},
    }
    if scheme == "pvc" and draw(st.booleans()):
        del found["version"]
    elif mode == "knative":
        found["canary_percent"] = draw(st.none() | st.integers(0, 100))
    if runtime == "visionline":
        found["image"] = draw(st.sampled_from(["a", "a/b:1", f"c@sha256:{'a' * 64}"]))
        found["token_secret"] = draw(st.none() | NAMES)
        found["user"] = draw(st.integers(1, 2**31 - 1))
        found["control_token_secret"] = draw(st.none() | NAMES)
        found["pre_stop_seconds"] = draw(st.integers(0, 600))
        found["server"] = draw(SERVERS)
    else:
        found["runtime_version"] = "2.19.1-gpu" if gpu else "2.19.1"
    return parse(DeployConfig, found)


MODELS = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,29}", fullmatch=True)


@EXAMPLES
@given(configs(), MODELS)
def test_whatever_is_rendered_is_valid_and_the_same_as_yaml(drawn: DeployConfig, name: str) -> None:
    found = render(drawn, Model(name=name, version=drawn.version, manifest=None))
    validate(found)
    text = to_yaml([found])
    reader = YAML(typ="safe", pure=True)  # of YAML 1.2, as kubectl's is in part
    assert yaml.safe_load(text) == reader.load(text) == found
    assert "&id" not in text


def test_every_combination_of_the_choices_is_valid() -> None:
    for base, mode, protocol, place, version, gpu in itertools.product(
        (OWN, TENSORFLOW),
        ("standard", "knative"),
        ("http", "grpc"),
        ("s3://bucket", "gs://bucket/a", "pvc://claim", "pvc://claim/a"),
        (3, None),
        (0, 1),
    ):
        changed: dict[str, Any] = {"mode": mode, "protocol": protocol, "storage": place}
        if gpu and base is TENSORFLOW:
            changed["runtime_version"] = "2.19.1-gpu"
        if version and mode == "knative":
            changed["canary_percent"] = 50
        manifest(base, **changed, version=version, resources={"gpu": gpu})


# The command


def test_a_dry_run_prints_what_kubectl_would_get(folder: Path, tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text(
        '[deploy]\nstorage = "s3://bucket/serving"\nimage = "a/b"\nnamespace = "x"\n'
        '[deploy.resources]\nmemory = "4Gi"\n'
    )
    args = ("m", "--config", file, "--namespace", "vision", "--serving", folder.parent)
    args = (*args, "--set", "server.limits.images=16", "--set", "resources.cpu=2")
    done = cli("deploy", *args, "--dry-run")
    assert done.returncode == 0, done.stderr
    printed = yaml.safe_load(done.stdout)
    validate(printed)
    assert printed["metadata"]["namespace"] == "vision"
    server = printed["spec"]["predictor"]["containers"][0]
    assert server["args"][-4:] == ["--threads", "2", "--set", "limits.images=16"]
    assert server["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert printed["metadata"]["annotations"]["visionline/run"] == "x"
    assert printed["spec"]["predictor"]["storageUris"][0]["uri"] == "s3://bucket/serving/m/2/"
    assert "Warning: image: a/b is whatever was pushed last" in done.stderr
    assert "Version 2, the latest in the local serving folder." in done.stderr
    path = kubectl(tmp_path / "bin", f'echo "$@" > {tmp_path}/args; cat > {tmp_path}/got; echo ok')
    applied = deploy(*args, PATH=path)
    assert (applied.returncode, applied.stdout) == (0, "ok\n"), applied.stderr
    assert (tmp_path / "got").read_text() == done.stdout
    assert (tmp_path / "args").read_text() == "apply --request-timeout=30s -f -\n"


def test_nothing_reaches_kubectl_when_anything_is_wrong(folder: Path, tmp_path: Path) -> None:
    path = kubectl(tmp_path / "bin", f"touch {tmp_path}/called")
    for args, code, told in (
        (("m", "--storage", "ftp://x", "--image", "a:1"), 2, "expected s3://BUCKET"),
        (("m", *FLAGS, "--canary", "101", "--mode", "knative"), 2, "expected 0 to 100"),
        (("M", *FLAGS, "--serving", folder.parent), 1, "Did you mean 'm'"),
        (("m", *FLAGS, "--version", "9", "--serving", folder.parent), 1, "There are: 1, 2."),
        (("m", "--image", "a:1"), 2, "--storage s3://BUCKET/FOLDER"),
    ):
        done = deploy(*args, PATH=path)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "called").exists()


def test_no_kubectl_and_one_that_fails(tmp_path: Path) -> None:
    missing = deploy("m", *FLAGS, PATH=str(tmp_path))
    assert missing.returncode == 1 and "nothing was submitted" in missing.stderr
    path = kubectl(tmp_path / "bin", "echo 'connection refused' >&2; exit 1")
    failed = deploy("m", *FLAGS, PATH=path)
    assert failed.returncode == 1
    assert "kubectl apply failed with exit code 1: connection refused" in failed.stderr


def test_the_command_loads_nothing_for_help() -> None:
    heavy = {"yaml", "kubernetes", "pipeline.deploy.config", "tomllib"}
    done = python(
        "-c", f"import sys, pipeline.cli.main; print(sorted(set(sys.modules) & {heavy!r}))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_server_starts_as_the_manifest_says(demo: Demo, tmp_path: Path) -> None:
    """The container's arguments and probes on this machine, its mount as a copied folder."""
    limits = {"limits": {"images": 2}, "log": {"access": False}}
    spec = predictor(
        name="digits-keras", service="other", version=1, storage="s3://bucket", server=limits
    )
    (uri,) = spec["storageUris"]
    mounted = tmp_path / uri["mountPath"].removeprefix("/")
    shutil.copytree(demo.serving / "digits-keras" / "1", mounted)
    server = spec["containers"][0]
    assert server["command"] == ["python", "-m", "serving"]
    models, *flags = server["args"]
    ports = [str(p["containerPort"]) for p in server["ports"]]
    free = ["0" if flag in ports else flag for flag in flags]
    assert free.count("0") == 2
    with serve(tmp_path / models.removeprefix("/"), tmp_path / "log", *free) as running:
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = server[probe]["httpGet"]
            assert get["port"] == 8501
            assert httpx.get(url + get["path"]).status_code == 200
        image = demo.kept[0].read_bytes()
        answer = httpx.post(f"{url}/predict?model=other", content=image)
        assert answer.status_code == 200, answer.text
        rows = {"instances": [{"b64": base64.b64encode(image).decode()}] * 3}
        answer = httpx.post(f"{url}/v1/models/other:predict", json=rows)
        assert answer.status_code == 413 and "2" in answer.json()["error"]
