"""Loading and unloading by request: who may, who did, and what is seen of it afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from helpers import python, wait_until
from repository_fakes import Folder
from starlette.testclient import TestClient
from tritonclient.grpc import service_pb2, service_pb2_grpc

from common.errors import ConfigError
from serving.app import create_app
from serving.auth import CONTROL_ENVIRONMENT, ENVIRONMENT, Token, read_tokens
from serving.config import AuthConfig, LimitsConfig, LogConfig, ServeConfig
from serving.control import Control
from serving.logs.access import Access
from serving.logs.log import Log
from serving.protocols import v2_grpc
from serving.protocols.bearer import BearerRpc
from serving.protocols.recording import RecordedRpc
from serving.protocols.rpc import Refusing
from serving.service import Service

pytestmark = pytest.mark.quick

TOKEN, CONTROL = "predict-" + "p" * 20, "control-" + "c" * 20
UNLOAD = "/v2/repository/models/m/unload"
LOAD = "/v2/repository/models/m/load"


def bearer(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"Authorization": f"Bearer {secret}"}


class Site:
    """A service over a model that is loaded, its application, and its log."""

    def __init__(self, root: Path, *, token: bool, control: bool, open_to_all: bool) -> None:
        self.log = root / "log"
        self._log = Log(LogConfig(file=str(self.log), access=False))
        access = Access(self._log, each_request=False)
        self.folder = Folder(root)
        self.folder.push("m")
        self.folder.see("m", 1)
        wait_until(lambda: self.folder.events != [], 10)  # told after the version shows
        self.folder.event = access.event
        repository = self.folder.repository
        self.service = Service(repository, LimitsConfig(), access)
        self.token = Token(TOKEN, "test") if token else None
        secret = Token(CONTROL, "test", "control token") if control else None
        self.service.control = Control(repository, access, open_to_all=open_to_all, token=secret)
        self.http = TestClient(create_app(self.service, self.token))

    def close(self) -> None:
        self.folder.repository.close()
        self._log.close(10)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def rpc(self, method: str, secret: str | None) -> tuple[str, str]:
        """The code and the details of a call about the model, over a real port."""
        return asyncio.run(self._rpc(method, secret))

    async def _rpc(self, method: str, secret: str | None) -> tuple[str, str]:
        tokens = [t for t in (self.token, self.service.control.token) if t is not None]
        asking = [BearerRpc(tokens)] if self.token else []
        recorded, refusing = RecordedRpc(self.service.access), Refusing(self.service)
        server = grpc.aio.server(interceptors=[recorded, *asking, refusing])
        v2_grpc.add_services(server, self.service)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                request = getattr(service_pb2, f"{method}Request")()
                if hasattr(request, "model_name"):
                    request.model_name = "m"
                metadata = [(k.lower(), v) for k, v in bearer(secret).items()]
                await getattr(stub, method)(request, metadata=metadata, timeout=60)
        except grpc.aio.AioRpcError as e:
            return e.code().name, e.details() or ""
        finally:
            await server.stop(None)
        return "OK", ""


@contextmanager
def site(root: Path, **how: bool) -> Iterator[Site]:
    made = Site(root, **{"token": False, "control": False, "open_to_all": False, **how})
    try:
        yield made
    finally:
        made.close()


def test_nobody_may_by_default_and_the_refusal_says_how(tmp_path: Path) -> None:
    with site(tmp_path) as found:
        for path in (UNLOAD, LOAD):
            answer = found.http.post(path)
            assert answer.status_code == 403
            for words in ("control = true", "auth.control_token_file", CONTROL_ENVIRONMENT):
                assert words in answer.json()["error"]
        for method in ("RepositoryModelUnload", "RepositoryModelLoad"):
            code, details = found.rpc(method, None)
            assert code == "PERMISSION_DENIED" and "control = true" in details
        assert found.http.post("/v2/repository/index").json()[0]["state"] == "READY"
        assert found.rpc("RepositoryIndex", None) == ("OK", "")
        assert found.folder.available("m") == [1]
        assert found.lines() == []


@pytest.mark.parametrize(
    "path",
    [
        "//v2/repository/models/m/unload",
        "/v2//repository/models/m/unload",
        "/v2/repository/models/m/unload/",
        "/v2/repository/models/m/%75nload",
        "/v2/repository/models/%6d/unload",
        "/V2/repository/models/m/unload",
        "/v2/repository/models/m/unload?a=/healthz",
        "/healthz/../v2/repository/models/m/unload",
    ],
)
def test_no_other_way_of_writing_the_path_leads_around_it(tmp_path: Path, path: str) -> None:
    with site(tmp_path, control=True) as found:
        for method in ("POST", "GET", "PUT", "DELETE"):
            found.http.request(method, path)
        assert found.folder.available("m") == [1]


def test_everyone_may_where_the_config_says_so(tmp_path: Path) -> None:
    with site(tmp_path, open_to_all=True) as found:
        assert found.http.post(UNLOAD).status_code == 200
        assert found.folder.available("m") == []
        assert found.rpc("RepositoryModelLoad", None) == ("OK", "")
        assert found.folder.available("m") == [1]


@pytest.mark.parametrize("token", [True, False])
def test_the_control_token_is_asked_for_and_no_other(tmp_path: Path, token: bool) -> None:
    with site(tmp_path, token=token, control=True) as found:
        for secret in (None, TOKEN, CONTROL[:-1], ""):
            answer = found.http.post(UNLOAD, headers=bearer(secret))
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert found.rpc("RepositoryModelUnload", secret)[0] == "UNAUTHENTICATED"
            assert CONTROL not in answer.text
        answer = found.http.post(UNLOAD, headers=bearer(TOKEN))
        assert "control token" in answer.json()["error"] and found.folder.available("m") == [1]
        # Who may control may ask for the rest too.
        for secret in (CONTROL, TOKEN):
            assert found.http.get("/v1/models", headers=bearer(secret)).status_code == 200
        assert found.http.get("/v1/models").status_code == (401 if token else 200)
        assert found.http.post(UNLOAD, headers=bearer(CONTROL)).status_code == 200
        assert found.folder.available("m") == []
        assert found.rpc("RepositoryModelLoad", CONTROL) == ("OK", "")
        assert found.folder.available("m") == [1]


def test_an_unload_says_who_and_is_seen_until_something_newer_is_pushed(tmp_path: Path) -> None:
    with site(tmp_path, open_to_all=True) as found:
        assert found.http.get("/readyz").text == "ready"
        found.http.post(UNLOAD, headers={"x-request-id": "mine"})
        (asked,) = (line for line in wait_for(found, "control"))
        assert (asked["detail"], asked["model"]) == ("unload", "m")
        assert asked["request_id"] == "mine" and asked["peer"].startswith("testclient:")
        (gone,) = (line for line in wait_for(found, "unloaded"))
        assert "testclient" in gone["detail"] and "mine" in gone["detail"]

        (entry,) = found.http.post("/v2/repository/index").json()
        assert (entry["name"], entry["version"], entry["state"]) == ("m", "1", "UNAVAILABLE")
        assert entry["reason"].startswith("unloaded by request of testclient:")
        assert "mine" in entry["reason"]
        (slot,) = found.http.get("/v1/models/m").json()["model_version_status"]
        assert slot["state"] == "END" and slot["status"]["error_message"] == entry["reason"]
        ready = found.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.text.splitlines() == ["unloaded", f"m 1: {entry['reason']}"]
        body = {"instances": [{"b64": ""}]}
        refused = found.http.post("/v1/models/m:predict", json=body)
        assert refused.status_code == 503 and "unloaded by request" in refused.json()["error"]

        found.folder.push("m")
        found.folder.see("m", 2)
        ready = found.http.get("/readyz")
        assert ready.status_code == 200
        assert ready.text.splitlines() == ["ready", f"m 1: {entry['reason']}"]


def wait_for(found: Site, kind: str) -> list[dict[str, Any]]:
    wait_until(lambda: any(line["kind"] == kind for line in found.lines()), 30)
    return [line for line in found.lines() if line["kind"] == kind]


def test_reasons_are_for_who_has_the_token(tmp_path: Path) -> None:
    with site(tmp_path, token=True, control=True) as found:
        found.http.post(UNLOAD, headers=bearer(CONTROL))
        assert found.http.get("/readyz").text == "unloaded"
        assert found.http.get("/readyz", headers=bearer("x" * 20)).text == "unloaded"
        for secret in (TOKEN, CONTROL):
            assert "m 1: unloaded by" in found.http.get("/readyz", headers=bearer(secret)).text


def test_tokens_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CONTROL + "\n")

    def read(environment: dict[str, str], **config: Any) -> Any:
        return read_tokens(ServeConfig(serving="x", **config), environment)

    assert read({}) == (None, None)
    both = {ENVIRONMENT: TOKEN, CONTROL_ENVIRONMENT: CONTROL}
    token, control = read(both)
    assert not token.same(control)
    file = AuthConfig(control_token_file=str(tmp_path / "token"))
    assert read({}, auth=file)[1].same(control)
    for environment, config, told in (
        ({**both, ENVIRONMENT: CONTROL}, {}, "same as the token"),
        (both, {"control": True}, "leave one out"),
        (both, {"auth": file}, "Both VISIONLINE_SERVE_CONTROL_TOKEN and auth.control_token_file"),
        ({}, {"auth": AuthConfig(control_token_file="/none")}, "control_token_file: /none cannot"),
        ({CONTROL_ENVIRONMENT: "short"}, {}, "VISIONLINE_SERVE_CONTROL_TOKEN: expected a token"),
    ):
        with pytest.raises(ConfigError, match=told) as refused:
            read(environment, **config)
        assert CONTROL not in str(refused.value)


def test_a_control_token_in_the_config_itself_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(f'[auth]\ncontrol_token = "{CONTROL}"\n')
    done = python("-m", "serving", str(tmp_path), "--config", str(config))
    assert done.returncode == 2 and CONTROL not in done.stderr
    assert "auth.control_token: a token does not belong into a config" in done.stderr
