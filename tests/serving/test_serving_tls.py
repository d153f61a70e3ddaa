"""TLS on both ports, alone and with the token and the request log, as real clients see it."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import tritonclient.http
from certificates import Authority, Pair, private
from cryptography.hazmat.primitives import serialization
from helpers import python, wait_until
from serving_server import Running, serve
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from common.errors import ConfigError
from serving.auth import ENVIRONMENT
from serving.config import TlsConfig
from serving.tls import read_tls

MODEL = "digits-keras"
SECRET = "0123456789abcdef-of-the-test"
BEARER = {"Authorization": f"Bearer {SECRET}"}
METADATA = (("authorization", f"Bearer {SECRET}"),)
CONFIG = """
[limits]
header_seconds = 1.0
[tls]
certificate = "{certificate}"
key = "{key}"
"""
LOG = """
[request_log]
folder = "{folder}"
sample = 1.0
flush_seconds = 0.2
"""


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS, and what its clients need."""

    running: Running
    authority: Authority
    folder: Path
    """Of the request log."""

    @property
    def port(self) -> int:
        return int(self.running.host.rpartition(":")[2])

    @property
    def grpc_port(self) -> int:
        return int(self.running.grpc.rpartition(":")[2])

    def context(self, own: Pair | None = None) -> ssl.SSLContext:
        """A client's, that trusts the authority."""
        context = ssl.create_default_context(cafile=self.authority.pair.certificate)
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context

    def channel(self, own: Pair | None = None) -> grpc.Channel:
        root = self.authority.pair.certificate.read_bytes()
        pair = (own.key.read_bytes(), own.certificate.read_bytes()) if own else (None, None)
        return grpc.secure_channel(self.running.grpc, grpc.ssl_channel_credentials(root, *pair))


@pytest.fixture(scope="module")
def secured(demo, tmp_path_factory):
    """TLS, a token and a request log, in one process."""
    root = tmp_path_factory.mktemp("secured")
    authority = Authority(root)
    pair = authority.sign("server")
    shutil.copytree(demo.serving / MODEL / "1", root / "serving" / MODEL / "1")
    text = CONFIG.format(certificate=pair.certificate, key=pair.key)
    (root / "serve.toml").write_text(text + LOG.format(folder=root / "requests"))
    trusting = ssl.create_default_context(cafile=authority.pair.certificate)
    with serve(
        root / "serving", root / "log.txt", "--threads", "1", "--config", str(root / "serve.toml"),
        env={ENVIRONMENT: SECRET}, verify=trusting,
    ) as running:  # fmt: skip
        yield Secured(running, authority, root / "requests")
    assert not list((root / "requests").glob(".*"))
    log = (root / "log.txt").read_text()
    assert "Traceback" not in log
    assert SECRET not in log


@pytest.fixture(scope="module")
def mutual(tmp_path_factory):
    """Clients have to bring certificates too; no models."""
    root = tmp_path_factory.mktemp("mutual")
    authority = Authority(root)
    pair, client = authority.sign("server"), authority.sign("client")
    (root / "serving").mkdir()
    text = CONFIG.format(certificate=pair.certificate, key=pair.key)
    (root / "serve.toml").write_text(f'{text}client_ca = "{authority.pair.certificate}"')
    trusting = ssl.create_default_context(cafile=authority.pair.certificate)
    trusting.load_cert_chain(client.certificate, client.key)
    with serve(
        root / "serving", root / "log.txt", "--config", str(root / "serve.toml"),
        verify=trusting, probe="/healthz",
    ) as running:  # fmt: skip
        yield Secured(running, authority, root), client
    assert "Traceback" not in (root / "log.txt").read_text()


@pytest.fixture(scope="module")
def image(demo):
    return demo.kept[0].read_bytes()


# --- With the token


def test_rest_over_tls_with_the_token(secured, image):
    assert secured.running.url.startswith("https://")
    with httpx.Client(base_url=secured.running.url, verify=secured.context()) as http:
        assert http.get("/readyz").text == "ready"
        assert http.post("/predict", content=image).status_code == 401
        assert http.get("/openapi.json").status_code == 401
        assert http.get("/v1/models", headers={"Authorization": "Bearer x"}).status_code == 401
        answer = http.post("/predict", content=image, headers=BEARER)
        assert answer.json()["classes"][0]["label"] == "0"
        http.headers.update(BEARER)
        assert http.get(f"/v1/models/{MODEL}").status_code == 200
        # It is for asking; who loads needs the other one.
        assert http.post(f"/v2/repository/models/{MODEL}/load").status_code == 403


def test_grpc_over_tls_with_the_token(secured, image):
    with secured.channel() as channel:
        v2 = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert v2.ServerLive(service_pb2.ServerLiveRequest()).live
        assert v2.ServerReady(service_pb2.ServerReadyRequest()).ready
        request = service_pb2.ModelInferRequest(model_name=MODEL, id="a-request")
        given = request.inputs.add(name="images", datatype="BYTES", shape=[1])
        given.contents.bytes_contents.append(image)
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = MODEL
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        for call, message in (
            (v2.ModelInfer, request),
            (v2.ServerMetadata, service_pb2.ServerMetadataRequest()),
            (v2.RepositoryModelUnload, service_pb2.RepositoryModelUnloadRequest(model_name=MODEL)),
            (models.GetModelStatus, status),
        ):
            for metadata in ((), (("authorization", "Bearer x"),), METADATA * 2):
                with pytest.raises(grpc.RpcError) as caught:
                    call(message, metadata=metadata, timeout=20)
                assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
                assert SECRET not in caught.value.details()
        (found,) = models.GetModelStatus(status, metadata=METADATA).model_version_status
        assert found.version == 1
        answer = v2.ModelInfer(request, metadata=METADATA, timeout=20)
        assert answer.outputs[0].name == "scores"
        unknown = channel.unary_unary("/a.B/C", lambda m: m, lambda m: m)
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"", timeout=20)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_tritons_client_brings_the_token(secured):
    client = tritonclient.http.InferenceServerClient(
        secured.running.host, ssl=True, ssl_context_factory=secured.context
    )
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL, headers=BEARER)
    assert not client.is_model_ready(MODEL)


def test_large_messages_without_the_token_take_no_memory(secured):
    """They are refused before they are read, on either port."""
    status = Path(f"/proc/{secured.running.process.pid}/status")

    def most():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    (status.parent / "clear_refs").write_text("5")  # resets it to what is held now
    before = most()
    size = 31 * 2**20
    with secured.channel() as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", lambda m: m, lambda m: m
        )
        calls = [infer.future(bytes(size), timeout=30) for _ in range(8)]
        assert {c.code() for c in calls} == {grpc.StatusCode.UNAUTHENTICATED}
    with (
        connect(secured.port) as plain,
        secured.context().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert tls.recv(4096).startswith(b"HTTP/1.1 401")
    assert most() - before < 2 * size


def test_served_requests_are_in_the_log(secured, image):
    import tensorflow as tf

    with httpx.Client(base_url=secured.running.url, verify=secured.context()) as http:
        for headers in (BEARER, {}):
            http.post("/predict", content=image, headers=headers)
    wait_until(lambda: list(secured.folder.glob("*.tfrecord.gz")), 20)
    files = sorted(map(str, secured.folder.glob("*.tfrecord.gz")))
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        assert features["image/encoded"].bytes_list.value == [image]
        assert features["served/protocol"].bytes_list.value[0] in (b"file", b"v2-grpc")
        assert features["served/request_id"].bytes_list.value[0]
        assert SECRET.encode() not in record
    metrics = httpx.get(
        f"{secured.running.url}/metrics", headers=BEARER, verify=secured.context()
    ).text
    assert 'visionline_request_log_images_total{outcome="dropped"} 0.0' in metrics
    assert 'visionline_request_log_images_total{outcome="logged"} ' in metrics
    assert 'visionline_refused_total{protocol="file",reason="Unauthorized"} ' in metrics


# --- Clients that do not speak it, or not soon


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def seconds_until_closed(connection, since=None):
    began = since or time.monotonic()
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


def test_what_is_sent_in_the_clear_is_refused_at_once(secured):
    began = time.monotonic()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{secured.running.host}/healthz", timeout=20)
    assert time.monotonic() - began < 15
    with grpc.insecure_channel(secured.running.grpc) as channel:
        live = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive
        with pytest.raises(grpc.RpcError) as caught:
            live(service_pb2.ServerLiveRequest(), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a hello"])
def test_a_handshake_that_does_not_come_is_not_waited_for(secured, sent):
    for port in (secured.port, secured.grpc_port):
        began = time.monotonic()
        with connect(port) as connection:
            connection.sendall(sent)
            assert 0.8 < seconds_until_closed(connection, began) < 15


def test_many_that_do_not_shake_hands_keep_nobody_out(secured):
    connections = [connect(secured.port) for _ in range(200)]
    try:
        answer = httpx.get(f"{secured.running.url}/readyz", verify=secured.context())
        assert answer.status_code == 200
        assert seconds_until_closed(connections[-1]) < 15
    finally:
        for connection in connections:
            connection.close()


def test_a_head_that_does_not_come_is_not_waited_for_either(secured):
    began = time.monotonic()
    with (
        connect(secured.port) as plain,
        secured.context().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET /readyz HTTP/1.1\r\n")
        # The server's clock runs from the handshake on.
        assert 0.5 < seconds_until_closed(tls, began) < 15


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_not_spoken(secured):
    for port in (secured.port, secured.grpc_port):
        old = secured.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            connect(port) as plain,
            pytest.raises(ssl.SSLError, match=r"alert protocol version|EOF occurred"),
        ):
            old.wrap_socket(plain, server_hostname="localhost")


def test_clients_that_trust_another_authority_are_told(secured, tmp_path):
    stranger = Authority(tmp_path).pair.certificate
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(
            f"{secured.running.url}/healthz", verify=ssl.create_default_context(cafile=stranger)
        )


# --- Clients with certificates


def test_clients_bring_certificates_of_the_authority(mutual, tmp_path):
    server, client = mutual
    assert httpx.get(f"{server.running.url}/healthz", verify=server.context(client)).text == "ok"
    stranger = Authority(tmp_path).sign("stranger")
    expired = server.authority.sign("expired", days=-1)
    for own in (None, stranger, expired):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.running.url}/healthz", verify=server.context(own), timeout=20)
    for own, is_good in ((client, True), (None, False), (stranger, False)):
        with server.channel(own) as channel:
            live = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive
            if is_good:
                assert live(service_pb2.ServerLiveRequest(), timeout=20).live
                continue
            with pytest.raises(grpc.RpcError) as caught:
                live(service_pb2.ServerLiveRequest(), timeout=20)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


# --- Files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A good pair, and all that can be wrong."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    good, other = authority.sign("good"), authority.sign("other")
    authority.sign("expired", days=-1)
    (folder / "text.pem").write_text("no certificate")
    (folder / "broken.pem").write_bytes(good.certificate.read_bytes()[:200])
    (folder / "empty.pem").touch()
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    locked = private(key, serialization.BestAvailableEncryption(b"a passphrase"))
    (folder / "locked.pem").write_bytes(locked)
    assert (good.key, other.key) == (folder / "good-key.pem", folder / "other-key.pem")
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "client_ca", "reason"),
    [
        ("none", "good-key", "", r"tls\.certificate: .*/none\.pem cannot be read: No such file"),
        ("good", "none", "", r"tls\.key: .*/none\.pem cannot be read: No such file"),
        ("good", "good-key", "none", r"tls\.client_ca: .*/none\.pem cannot be read"),
        ("text", "good-key", "", r"tls\.certificate: .*/text\.pem: expected certificates in PEM"),
        ("broken", "good-key", "", r"tls\.certificate: .*/broken\.pem: expected certificates"),
        ("empty", "good-key", "", r"tls\.certificate: .*/empty\.pem: expected certificates"),
        ("good-key", "good-key", "", r"tls\.certificate: .*/good-key\.pem: expected certificates"),
        ("good", "text", "", r"tls\.key: .*/text\.pem: expected the certificate's private key"),
        ("good", "empty", "", r"tls\.key: .*/empty\.pem: expected the certificate's private key"),
        ("good", "good", "", r"tls\.key: .*/good\.pem: expected the certificate's private key"),
        ("good", "other-key", "", r"tls\.key: .*/other-key\.pem is not the key of .*/good\.pem"),
        ("good", "locked", "", r"tls\.key: .*/locked\.pem is encrypted"),
        (
            "expired",
            "expired-key",
            "",
            r"tls\.certificate: .*/expired\.pem: .* has expired",
        ),
        ("good", "good-key", "text", r"tls\.client_ca: .*/text\.pem: expected certificates in PEM"),
    ],
)
def test_files_that_cannot_be_used_are_named(files, certificate, key, client_ca, reason):
    config = TlsConfig(
        certificate=str(files / f"{certificate}.pem"),
        key=str(files / f"{key}.pem"),
        client_ca=str(files / f"{client_ca}.pem") if client_ca else "",
    )
    with pytest.raises(ConfigError, match=reason):
        read_tls(config)


def test_a_good_pair_is_taken_and_its_key_is_not_shown(files):
    config = TlsConfig(certificate=str(files / "good.pem"), key=str(files / "good-key.pem"))
    assert "PRIVATE" not in repr(read_tls(config))


def test_the_command_line_says_so_before_it_loads_anything(files, tmp_path):
    text = CONFIG.format(certificate=files / "good.pem", key=files / "other-key.pem")
    (tmp_path / "serve.toml").write_text(text)
    arguments = ("-m", "serving", str(tmp_path), "--config", str(tmp_path / "serve.toml"))
    done = python(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("serving: tls.key: ")
    assert "Loading" not in done.stderr
    # Elsewhere than on this machine alone, somebody has to know that there is no token.
    warned = "Warning: on 0.0.0.0 anyone"
    assert python(*arguments, "--host", "0.0.0.0").stderr.startswith(warned)
    with_token = python(*arguments, "--host", "0.0.0.0", **{ENVIRONMENT: SECRET})
    assert with_token.stderr.startswith("serving: tls.key: ")
