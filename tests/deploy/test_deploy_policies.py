"""What protects a deployment in objects of its own, and how they reach the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_config import FLAGS, OWN, TENSORFLOW, config, deploy, kubectl, levels, manifest, root

from common.errors import ConfigError, RunError
from pipeline.deploy import kubectl as kubectl_module
from pipeline.deploy.model import Model
from pipeline.deploy.policies import policies
from pipeline.deploy.render import render
from pipeline.deploy.validate import validate

pytestmark = pytest.mark.quick

SELECTOR = {"matchLabels": {"serving.kserve.io/inferenceservice": "digits"}}


def objects(base: dict[str, Any] = OWN, **changed: Any) -> list[dict[str, Any]]:
    loaded = config(base, **changed)
    service = render(loaded, Model(name="digits", version=loaded.version, manifest=None))
    found = policies(loaded, service)
    for each in found:
        validate(each)
    return found


def test_by_default_there_are_none() -> None:
    assert objects() == []


@pytest.mark.parametrize("mode", ["standard", "knative"])
def test_a_budget_never_keeps_a_node_from_being_drained(mode: str) -> None:
    (budget,) = objects(mode=mode, max_unavailable=1, namespace="vision", labels={"team": "a"})
    assert (budget["apiVersion"], budget["kind"]) == ("policy/v1", "PodDisruptionBudget")
    assert budget["metadata"] == {
        "name": "digits",
        "namespace": "vision",
        "labels": {
            "app.kubernetes.io/name": "digits",
            "app.kubernetes.io/part-of": "visionline",
            "app.kubernetes.io/managed-by": "visionline",
            "team": "a",
        },
    }
    assert budget["spec"] == {"maxUnavailable": 1, "selector": SELECTOR}


def test_a_network_policy_lets_in_whom_it_names_and_nothing_out() -> None:
    (policy,) = objects(network={"allow_from": ["istio-system", "vision"]})
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    assert policy["spec"] == {
        "podSelector": SELECTOR,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
                    for name in ("istio-system", "vision")
                ],
                "ports": [{"port": port, "protocol": "TCP"} for port in (8501, 8500)],
            }
        ],
        "egress": [],
    }


def test_pods_that_copy_their_model_may_ask_others() -> None:
    allowed = {"allow_from": ["vision"]}
    (policy,) = objects(TENSORFLOW, version=3, network=allowed)
    assert policy["spec"]["policyTypes"] == ["Ingress"] and "egress" not in policy["spec"]
    assert [p["port"] for p in policy["spec"]["ingress"][0]["ports"]] == [8080, 9000]
    (policy,) = objects(network={**allowed, "outbound": True})
    assert "egress" not in policy["spec"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"network": {"allow_from": ["A"]}},
            r"allow_from\[0\]: expected a name of lower-case letters, digits and -, got 'A'",
        ),
        ({"network": {"outbound": True}}, "expected allow_from, too"),
        (
            {"network": {"allow_from": ["a"]}, "mode": "knative"},
            "network.allow_from: in knative mode requests come through Knative's own activator",
        ),
        (
            {"network": {"allow_from": ["a"], "outbound": False}, "storage": "s3://bucket"},
            "network.outbound: expected true or nothing, got false: the pods copy s3://bucket",
        ),
        ({"max_unavailable": 0}, "max_unavailable: expected 1 to 1000, got 0"),
    ],
)
def test_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**changed)


def test_a_policy_of_every_pod_and_a_misspelt_one_are_refused() -> None:
    for found, key in zip(
        objects(network={"allow_from": ["a"]}, max_unavailable=1),
        ("podSelector", "selector"),
        strict=True,
    ):
        assert len(list(levels(root(found), found))) >= 3
        found["spec"][key] = {}
        with pytest.raises(ConfigError, match=rf"spec\.{key}\.matchLabels: required"):
            validate(found)
        found["spec"][f"{key}s"] = SELECTOR
        with pytest.raises(ConfigError, match=f"{key}s: unknown field"):
            validate(found)


# How they are submitted


POLICIES = ("--set", 'network.allow_from=["vision"]', "--set", "max_unavailable=1")
KINDS = ["NetworkPolicy", "PodDisruptionBudget", "InferenceService"]


def test_each_object_is_submitted_alone_and_the_service_last(tmp_path: Path) -> None:
    path = kubectl(
        tmp_path / "bin", f"echo ---; cat >> {tmp_path}/got; echo '---' >> {tmp_path}/got"
    )
    applied = deploy("m", *FLAGS, *POLICIES, PATH=path)
    assert (applied.returncode, applied.stdout) == (0, "---\n---\n---\n"), applied.stderr
    got = [d for d in yaml.safe_load_all((tmp_path / "got").read_text()) if d]
    assert [d["kind"] for d in got] == KINDS
    printed = deploy("m", *FLAGS, *POLICIES, "--dry-run")
    assert list(yaml.safe_load_all(printed.stdout)) == got


def test_nothing_comes_after_an_object_that_is_refused(tmp_path: Path) -> None:
    path = kubectl(
        tmp_path / "bin",
        f"cat > {tmp_path}/last; grep -q 'kind: PodDis' {tmp_path}/last || {{ echo ok; exit 0; }}\n"
        "echo 'Error from server (Forbidden): poddisruptionbudgets is forbidden' >&2; exit 1",
    )
    failed = deploy("m", *FLAGS, *POLICIES, PATH=path)
    assert (failed.returncode, failed.stdout) == (1, "ok\n")
    assert "poddisruptionbudgets is forbidden" in failed.stderr
    assert failed.stderr.endswith(
        "Submitted before: NetworkPolicy m. Not submitted: InferenceService m.\n"
    )
    assert "No Kubernetes cluster" not in failed.stderr


UNREACHABLE = [
    "The connection to the server localhost:8080 was refused - did you specify the right host or "
    "port?",
    'error: no context exists with the name: "prod"',
    'error: context "prod" does not exist',
    "Error in configuration: context was not found for specified context: prod",
    "Unable to connect to the server: dial tcp: lookup kube.example.com on 10.0.0.2:53: no such "
    "host",
    "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout",
    "Unable to connect to the server: net/http: request canceled while waiting for connection "
    "(Client.Timeout exceeded while awaiting headers)",
    'error: error validating "STDIN": error validating data: failed to download openapi: Get '
    '"http://localhost:8080/openapi/v2?timeout=30s": dial tcp 127.0.0.1:8080: connect: connection '
    "refused; if you choose to ignore these errors, turn validation off with --validate=false",
    "error: invalid configuration: no configuration has been provided, try setting "
    "KUBERNETES_MASTER environment variable",
]
REACHED = [
    'Error from server (InternalError): Internal error occurred: failed calling webhook "kserve": '
    'Post "https://kserve-webhook.kserve.svc:443/mutate": dial tcp 10.0.0.9:9443: connect: '
    "connection refused",
    "error: You must be logged in to the server (Unauthorized)",
    'error: error validating "STDIN": error validating data: failed to download openapi: the '
    "server has asked for the client to provide credentials",
    'Error from server (Forbidden): inferenceservices.serving.kserve.io "m" is forbidden',
    'error: resource mapping not found for name: "m" namespace: "" from "STDIN": no matches for '
    'kind "InferenceService" in version "serving.kserve.io/v1beta1"',
    'Error from server (NotFound): error when creating "STDIN": namespaces "vision" not found',
]


def fails_with(said: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "said").write_text(f"{said}\n")
    path = kubectl(folder / "bin", f"cat > /dev/null; cat {folder}/said >&2; exit 1")
    monkeypatch.setenv("PATH", path)
    with pytest.raises(RunError) as failed:
        list(kubectl_module.apply([manifest()]))
    return str(failed.value)


@pytest.mark.parametrize("said", UNREACHABLE)
def test_without_a_cluster_that_is_the_first_thing_told(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fails_with(said, tmp_path, monkeypatch) == (
        "No Kubernetes cluster can be reached. Start it, or set kubectl to one that runs: kubectl "
        f"config use-context NAME, or KUBECONFIG.\nkubectl apply failed with exit code 1: {said}"
    )


@pytest.mark.parametrize("said", REACHED)
def test_what_a_cluster_answers_is_told_as_it_is(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = fails_with(said, tmp_path, monkeypatch)
    assert told == f"kubectl apply failed with exit code 1: {said}"


def test_a_kubectl_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", kubectl(tmp_path / "bin", "exec sleep 30"))
    monkeypatch.setattr(kubectl_module, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(RunError, match="kubectl get inferenceservice digits") as failed:
        list(kubectl_module.apply([manifest()]))
    assert str(failed.value).startswith("kubectl did not answer within 0.5 seconds: the cluster")


def test_on_the_command_line_it_is_told_in_order(tmp_path: Path) -> None:
    path = kubectl(tmp_path / "bin", f"echo '{UNREACHABLE[0]}' >&2; exit 1")
    failed = deploy("m", *FLAGS, *POLICIES, PATH=path)
    assert failed.returncode == 1 and failed.stdout == ""
    first, second, last = failed.stderr.splitlines()[-3:]
    assert "No Kubernetes cluster can be reached." in first and UNREACHABLE[0] in second
    assert last == (
        "Submitted before: nothing. Not submitted: PodDisruptionBudget m, InferenceService m."
    )
