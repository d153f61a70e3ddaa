"""The bearer token: where it comes from, who is asked for it, and that nobody else sees it.

Over gRPC and TLS, in a process of its own: test_serving_tls.py.
"""

from __future__ import annotations

import pytest
from helpers import python
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from common.errors import ConfigError
from serving.app import create_app
from serving.auth import ENVIRONMENT, Token, is_loopback, read_tokens
from serving.cli import load_config
from serving.config import AuthConfig, LimitsConfig, ServeConfig
from serving.errors import UnauthorizedError
from serving.models.repository import Repository
from serving.protocols.bearer import OPEN_PATHS
from serving.service import Service

pytestmark = pytest.mark.quick

SECRET = "a-Secret_of.more~than+16/characters=="
BEARER = {"Authorization": f"Bearer {SECRET}"}


def read_token(config, environment):
    return read_tokens(ServeConfig(serving="folder", auth=config), environment)[0]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The application of a server that has no models."""
    config = ServeConfig(serving=str(tmp_path_factory.mktemp("serving")))
    return create_app(Service(Repository(config, threads=1), LimitsConfig()), Token(SECRET, "test"))


@pytest.fixture(scope="module")
def http(app):
    with TestClient(app) as client:
        yield client


# --- Where it comes from


def test_from_the_environment_or_a_file_with_or_without_a_line_end(tmp_path):
    assert read_token(AuthConfig(), {}) is None
    read_token(AuthConfig(), {ENVIRONMENT: SECRET}).check([f"Bearer {SECRET}".encode()])
    for end in ("", "\n", "\r\n"):
        (tmp_path / "token").write_bytes((SECRET + end).encode())
        token = read_token(AuthConfig(token_file=str(tmp_path / "token")), {})
        token.check([f"Bearer {SECRET}".encode()])


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "got 0"),
        ("a-secret-of-15-", "got 15"),
        (" " * 32, "white space"),
        ("a secret with blanks in it", "white space"),
        ("a-secret-of-two\n-lines-and-more", "white space"),
        ("ein-Schlüssel-mit-Umlaut", "visible ASCII"),
        ("x" * 5000, "got 5000"),
    ],
)
def test_what_is_no_token_is_refused_and_not_quoted(tmp_path, secret, reason):
    (tmp_path / "token").write_text(secret, encoding="utf-8")
    for config, environment in (
        (AuthConfig(), {ENVIRONMENT: secret}),
        (AuthConfig(token_file=str(tmp_path / "token")), {}),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            read_token(config, environment)
        assert "openssl rand" in str(caught.value)
        assert not secret.strip() or secret not in str(caught.value)


def test_a_file_that_is_not_there_and_two_tokens_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"token_file: .*/none cannot be read: No such file"):
        read_token(AuthConfig(token_file=str(tmp_path / "none")), {})
    with pytest.raises(ConfigError, match="Both"):
        read_token(AuthConfig(token_file=str(tmp_path / "none")), {ENVIRONMENT: SECRET})


@pytest.mark.parametrize("text", [f'[auth]\ntoken = "{SECRET}"', f'auth = "{SECRET}"'])
def test_a_token_in_the_config_is_refused_and_not_quoted(tmp_path, text):
    (tmp_path / "serve.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "serve.toml", {"serving": str(tmp_path)})
    assert SECRET not in str(caught.value)
    if "[auth]" in text:
        assert ENVIRONMENT in str(caught.value) and "auth.token_file" in str(caught.value)


def test_the_command_line_refuses_it_before_it_loads_anything(tmp_path):
    arguments = ("-m", "pipeline.cli.main", "serve", str(tmp_path))
    done = python(*arguments, **{ENVIRONMENT: "short"})
    assert done.returncode == 2
    assert f"{ENVIRONMENT}: expected a token of 16" in done.stderr
    assert "Loading" not in done.stderr
    flag = python(*arguments, "--token", SECRET)
    assert flag.returncode == 2
    assert SECRET not in flag.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_hosts_that_only_this_machine_reaches(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_hosts_that_others_reach(host):
    assert not is_loopback(host)


# --- Who is asked


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_scheme_is_written_as_one_likes(scheme):
    Token(SECRET, "test").check([f"{scheme} {SECRET}".encode()])


@given(st.lists(st.binary() | st.binary().map(lambda b: b"Bearer " + b), max_size=3))
def test_nothing_else_is_the_token(given_headers):
    with pytest.raises(UnauthorizedError):
        Token(SECRET, "test").check(given_headers)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [f"Bearer {SECRET[:-1]}"],
        [f"Bearer {SECRET}x"],
        [f"Bearer {SECRET.lower()}"],
        [f"Basic {SECRET}"],
        [SECRET],
        ["Bearer"],
        [f"Bearer {SECRET}", f"Bearer {SECRET}"],
        ["Bearer wrong", f"Bearer {SECRET}"],
        [f"Bearer wrong, Bearer {SECRET}"],
    ],
)
def test_near_misses_are_refused_in_http(http, headers):
    answer = http.get("/v1/models", headers=[("Authorization", h) for h in headers])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json()) == ["error"]
    assert SECRET not in answer.text


def test_every_route_but_the_open_ones_needs_it(app, http):
    paths = {getattr(route, "path", "/") for route in app.routes}
    paths |= {p.replace("{name}", "x") for p in app.openapi()["paths"]}
    assert paths >= OPEN_PATHS | {"/openapi.json", "/docs", "/predict", "/v2/repository/index"}
    for path in sorted(paths | {"/metrics", "/nothing", "/healthz/", "/HEALTHZ", "/%2Fhealthz"}):
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            status = http.request(method, path).status_code
            assert (status == 401) == (path not in OPEN_PATHS), (method, path, status)
            assert http.request(method, path, headers=BEARER).status_code != 401


def test_a_body_is_not_read_before_the_token_was_seen(http):
    async def receive():
        raise AssertionError("the body was read")

    messages = []

    async def send(message):
        messages.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict",
        "query_string": b"", "headers": [(b"content-length", b"1000000000")], "root_path": "",
    }  # fmt: skip
    http.portal.call(http.app, scope, receive, send)
    assert messages[0]["status"] == 401


def test_the_document_says_how(http):
    document = http.get("/openapi.json", headers=BEARER).json()
    (name,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][name] == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{name: []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/predict"]["post"]
    assert SECRET not in str(document)


def test_without_a_token_the_document_has_none(tmp_path):
    service = Service(Repository(ServeConfig(serving=str(tmp_path)), threads=1), LimitsConfig())
    assert "security" not in create_app(service).openapi()


def test_the_page_is_open_and_asks_for_it(http):
    page = http.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert 'type="password"' in page.text
    assert "localStorage" not in page.text and "cookie" not in page.text
