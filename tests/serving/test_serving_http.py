"""What clients expect of any HTTP server: HEAD, slashes, Retry-After, other origins, a reference.

Over real sockets; with models, on a server that pages of another origin may ask.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from chromium import Chromium, find_chromium
from helpers import ROOT, wait_until
from html_page import Html
from serving_server import serve

from common.errors import ConfigError
from serving.cli import load_config
from serving.config import ServeConfig

MODEL = "digits-keras"
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def shop():
    """The origin of somebody's web page."""
    with web_page("") as origin:
        yield origin


@contextmanager
def web_page(text):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shared(demo, shop, tmp_path_factory):
    """A server with a token and on every address, that the shop's page may ask."""
    root = tmp_path_factory.mktemp("shared")
    flags = ("--threads", "1", "--host", "0.0.0.0", "--set", f'cors_origins=["{shop}"]')
    env = {"VISIONLINE_SERVE_TOKEN": TOKEN}
    with serve(demo.serving, root / "log.txt", *flags, env=env) as running:
        yield replace(running, url=running.url.replace("0.0.0.0", "127.0.0.1"))


TOKEN = "a-token-for-tests-alone"
BEARER = {"authorization": f"Bearer {TOKEN}"}


# --- HEAD, slashes, hosts, Retry-After


def test_head_answers_as_get_does_without_a_body(rest):
    paths = rest.get("/openapi.json").json()["paths"]
    gets = [path for path, operations in paths.items() if "get" in operations]
    assert len(gets) > 15
    for path in [*gets, "/", "/docs", "/openapi.json", "/nothing"]:
        path = path.replace("{name}", MODEL).replace("{version}", "1")
        path = path.replace("{number}", "1").replace("{label}", "stable")
        head, get = rest.head(path), rest.get(path)
        assert head.status_code == get.status_code, path
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.content == b"" and int(head.headers["content-length"]) > 0
    assert rest.head("/predict").headers["allow"] == "POST"
    assert rest.post("/healthz").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1"])
def test_a_slash_at_the_end_is_answered_and_not_redirected(rest, of_model, host):
    headers = {"host": host}
    assert rest.get("/v1/models/", headers=headers).json() == rest.get("/v1/models").json()
    found = rest.post(f"/predict/?model={MODEL}", content=of_model[1].encoded, headers=headers)
    assert found.json()["classes"][0]["label"] == of_model[1].digit
    for path in ("/v2/", "/docs/", "/healthz/", "//", "/nothing/", f"/v2/models/{MODEL}/"):
        answer = rest.get(path, headers=headers)
        assert answer.status_code in (200, 404), path
        assert "location" not in answer.headers and "evil" not in answer.text


def test_who_is_turned_away_for_a_moment_is_told_when_to_come_again(tmp_path):
    (tmp_path / "serving").mkdir()
    with serve(tmp_path / "serving", tmp_path / "log.txt", probe="/healthz") as waiting:
        for path in ("/readyz", "/v2/health/ready"):
            answer = httpx.get(waiting.url + path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "retry-after" not in httpx.get(f"{waiting.url}/healthz").headers


# --- The root


def test_the_root_is_a_page_for_people_and_liveness_for_kserve(rest):
    assert rest.get("/").json() == {"status": "alive"}
    page = rest.get("/", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["vary"] == "Accept"
    assert rest.get("/v2/models").json() == rest.get("/v1/models").json()


# --- Pages of another origin


def test_a_page_of_another_origin_may_not_ask_unless_it_is_named(rest, shared, shop):
    ask = {"access-control-request-method": "POST", "origin": shop}
    assert rest.options("/predict", headers=ask).status_code == 405
    assert "access-control-allow-origin" not in rest.get("/v1/models", headers=ask).headers
    with httpx.Client(base_url=shared.url) as named:
        allowed = named.options(
            "/predict", headers=ask | {"access-control-request-headers": "authorization"}
        )
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == shop
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        for path, status in (("/v1/models", 401), ("/healthz", 200)):
            answer = named.get(path, headers={"origin": shop})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == shop
        stranger = named.get("/v1/models", headers=BEARER | {"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_a_browser_lets_the_named_origin_classify_an_image(shared, shop, demo, tmp_path):
    image = demo.kept[7]
    script = f"""
      const bytes = Uint8Array.from(atob("{base64.b64encode(image.read_bytes()).decode()}"),
                                    c => c.charCodeAt(0));
      fetch("{shared.url}/predict?model={MODEL}", {{method: "POST", body: bytes,
            headers: {{Authorization: "Bearer {TOKEN}"}}}})
        .then(async a => {{ window.found = a.headers.get("x-request-id").length + " "
                            + (await a.json()).classes[0].label; }})
        .catch(e => {{ window.found = "refused"; }}); undefined
    """
    chromium = Chromium(find_chromium() or "", tmp_path)
    try:
        with web_page("") as another:
            for origin, expected in ((shop, f"32 {image.name[0]}"), (another, "refused")):
                chromium.open(origin, width=800)
                chromium.evaluate(script)
                wait_until(lambda: chromium.evaluate("window.found"))
                assert chromium.evaluate("window.found") == expected
    finally:
        chromium.close()


@pytest.mark.quick
def test_origins_are_written_as_browsers_write_them():
    for good in ("https://app.example.com", "http://localhost:3000", "http://[::1]:8080", "*",
                 "capacitor://localhost"):  # fmt: skip
        assert ServeConfig(serving="x", cors_origins=(good,)).cors_origins == (good,)
    for bad in ("https://app.example.com/", "app.example.com", "https://App.example.com",
                "https://x:443", "http://x:80", "https://a, https://b", "", "null",
                "https://x/path"):  # fmt: skip
        with pytest.raises(ConfigError, match=r"cors_origins.*https://app\.example\.com"):
            load_config(None, {"serving": "x", "cors_origins": [bad]})


# --- The reference, and lines for curl


def test_the_reference_loads_nothing_and_names_every_request(rest):
    answer = rest.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    page = Html(answer.text)
    assert page.faults == []
    assert [a for a in page.addresses if not a.startswith("#")] == ["openapi.json", "./"]
    for path, operations in rest.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"{method.upper()} {path}" in page.text
    assert "curl --data-binary @photo.jpg" in page.text
    assert rest.get("/redoc").status_code == 404


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_reference_and_the_page_with_its_line_for_curl(rest, server, tmp_path):
    chromium = Chromium(find_chromium() or "", tmp_path)
    try:
        chromium.open(f"{server.url}/docs", width=400)
        assert chromium.evaluate("document.querySelectorAll('details').length") > 20
        assert chromium.evaluate("getComputedStyle(document.body).maxWidth") == "864px"
        chromium.open(f"{server.url}/", width=800)
        wait_until(lambda: chromium.evaluate("document.getElementById('curl').textContent"))
        line = chromium.evaluate("document.getElementById('curl').textContent")
        assert line == f"curl --data-binary @photo.jpg '{server.url}/predict?model={MODEL}'"
        assert chromium.complaints == []
        assert {a for a in chromium.asked if not a.startswith((server.url, "about:"))} == set()
    finally:
        chromium.close()


def test_the_lines_for_curl_work_as_they_are_printed(rest, server, demo, tmp_path):
    image = demo.kept[4]
    (tmp_path / "photo.jpg").write_bytes(image.read_bytes())
    paths = rest.get("/openapi.json").json()["paths"]
    lines = [
        sample["source"].replace("SERVER", server.url).replace("NAME", MODEL)
        for operations in paths.values()
        for operation in operations.values()
        for sample in operation.get("x-codeSamples", ())
    ]
    assert len(lines) >= 4
    for line in lines:
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, timeout=30)
        assert f'"{image.name[0]}"' in done.stdout.decode(), line
        json.loads(done.stdout)


@pytest.mark.parametrize("page", ["README.md", "docs/serving.md"])
def test_the_lines_for_curl_in_the_docs_work(server, demo, page, tmp_path):
    image = demo.kept[7]
    (tmp_path / "photo.jpg").write_bytes(image.read_bytes())
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    lines = [block for block in blocks if "curl" in block]
    assert lines
    for line in lines:
        told = line.replace("http://127.0.0.1:8501", server.url)
        told = told.replace("build/demo", str(demo.root))
        done = subprocess.run(told, shell=True, cwd=tmp_path, capture_output=True, timeout=30)
        answers = done.stdout.decode()
        assert '"error"' not in answers and re.search(r'"\d"', answers), (line, answers)


def test_the_terminal_gives_a_line_for_curl_that_works(shared, demo, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(demo.kept[4].read_bytes())
    assert shared.process.stdout.readline().startswith("Ready: ")
    line = shared.process.stdout.readline()
    assert f"{shared.url}/predict?model={MODEL}" in line
    assert TOKEN not in line
    env = {"VISIONLINE_SERVE_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, timeout=30)
    assert json.loads(done.stdout)["classes"][0]["label"] == demo.kept[4].name[0]
