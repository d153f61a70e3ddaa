"""The page over lineage: every page, odd names, errors, headers; the process; a browser."""

from __future__ import annotations

import itertools
import math
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from chromium import Chromium, find_chromium
from helpers import EXAMPLES, python, start_python
from html_page import Html
from hypothesis import given
from hypothesis import strategies as st
from lineage_store import Builder, BuiltRun
from starlette.testclient import TestClient

from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from pipeline.ui import links, pages
from pipeline.ui.app import make_app
from pipeline.ui.chart import HEIGHT, WIDTH, line_chart
from pipeline.ui.names import named_models

pytestmark = pytest.mark.quick

MARKUP = "<img src=x onerror=alert(1)>&amp;\"'</title><b>"
ODD = "模型 ü?a=b#c+&"
LONG = "long-name-" * 20
ERROR = "Trainer failed:\n" + "".join(f'  File "/opt/module_{i}.py", line {i}\n' for i in range(60))
RUN = {"state": "complete", "framework": "keras", "model": "small_cnn", "user": "anna"}
DATA = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuiltRun]:
    """Runs of every kind, by name; the store is beside them, under "store"."""
    folder = tmp_path_factory.mktemp("store")
    builder = Builder(folder / "metadata.sqlite")
    runs: dict[str, BuiltRun] = {}
    for version in (1, 2, 3):
        earlier = runs.get("run-1")
        runs[f"run-{version}"] = builder.run(
            f"run-{version}",
            version=version,
            reused=dict.fromkeys(DATA, earlier) if earlier else None,
            baseline=earlier.artifacts["Trainer.model"] if earlier else None,
            run_properties={
                **RUN,
                "config": {"train": {"epochs": version}},
                "packages": {"numpy": "2.4.6"},
                "git_commit": "a1" * 20,
                "git_dirty": 1,
            },
            properties={
                "Trainer": {
                    "hyper_parameters": {"learning_rate": version / 1000},
                    "latency_onnx_ms": 0.4 + version / 100,
                },
                "Evaluator": {"accuracy": 0.9 + version / 100, "examples": 184},
            },
        )
    reasons = {"Evaluator": {"why_not_blessed": f"accuracy 0.5 is below 0.9\n{MARKUP}"}}
    runs["refused"] = builder.run("refused", version=None, properties=reasons)
    builder.run(
        "broken",
        fails="Trainer",
        run_properties={**RUN, "state": "failed", "error": ERROR},
        properties={"Trainer": {"error": ERROR}},
    )
    builder.run("going", fails="Evaluator", run_properties={**RUN, "state": "running"})
    for name in (MARKUP.replace("/", "|"), ODD, "..", LONG):
        marked = {MARKUP: MARKUP}
        runs[name] = builder.run(
            f"run {name}",
            name=name,
            pipeline=name,
            run_properties={
                **dict.fromkeys(("error", "user", "host", "directory", "git_commit"), MARKUP),
                **{"pipeline": name, "config": marked, "packages": marked},
            },
            properties={
                "Trainer": {"hyper_parameters": marked, "framework": MARKUP, "error": MARKUP},
                "ImageExampleGen": {"resolved_path": MARKUP, "error": MARKUP},
            },
            artifact_properties={
                "Trainer.model": {"framework": MARKUP, "architecture": MARKUP},
                "ImageExampleGen.examples": {"dataset_digest": MARKUP},
            },
        )
    builder.run("foreign", name="other", pipeline="other", record_run=False)
    for version in (1, 3):
        (folder / "serving" / "digits-keras" / str(version)).mkdir(parents=True)
    return {**runs, "store": BuiltRun(run_id=str(folder / "metadata.sqlite"), context_id=0)}


@pytest.fixture(scope="module")
def store(built: dict[str, BuiltRun]) -> Path:
    return Path(built["store"].run_id)


@pytest.fixture(scope="module")
def client(store: Path) -> TestClient:
    return browser(store)


def browser(store: Path) -> TestClient:
    app = make_app(Connection.parse(str(store)), ["localhost"])
    return TestClient(app, base_url="http://localhost", follow_redirects=False)


def page(client: TestClient, address: str, status: int = 200) -> Html:
    response = client.get(address)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Html(response.text)


def crawl(client: TestClient) -> dict[str, Html]:
    """Every page that can be reached by links from the first."""
    seen: dict[str, Html] = {}
    waiting = ["/"]
    while waiting:
        address = waiting.pop()
        if address not in seen:
            seen[address] = page(client, address)
            linked = (a["href"] for a in seen[address].named("a"))
            waiting += [href for href in linked if not href.startswith("#")]
    return seen


@pytest.fixture(scope="module")
def crawled(client: TestClient) -> dict[str, Html]:
    return crawl(client)


def test_every_page_is_reached_and_well_formed(crawled: dict[str, Html]) -> None:
    assert {a: p.faults for a, p in crawled.items() if p.faults} == {}
    kinds = {urlsplit(a).path.split("/")[1] for a in crawled}
    assert kinds == {"", "runs", "models", "model", "diff"}
    assert len(crawled) > 25


def test_nothing_leads_or_loads_from_elsewhere(crawled: dict[str, Html]) -> None:
    addresses = {a for found in crawled.values() for a in found.addresses}
    assert {a for a in addresses if not a.startswith(("/", "#")) or a.startswith("//")} == set()


def test_markup_in_names_stays_text(crawled: dict[str, Html], built: dict[str, BuiltRun]) -> None:
    for found in crawled.values():
        assert not found.named("img") and not found.named("b")
    name = MARKUP.replace("/", "|")
    shown = {
        links.run_url(f"run {name}"): 8,
        links.history_url(name): 4,
        links.model_url(built[name].artifacts["Trainer.model"]): 8,
    }
    for address, least in shown.items():
        assert crawled[address].text.count("<img src=x onerror=alert(1)>") >= least, address


def test_inputs_have_labels(crawled: dict[str, Html]) -> None:
    for address in ("/", "/runs", "/diff"):
        found = crawled[address]
        labels = {a.get("for") for a in found.named("label")}
        for attributes in found.named("input"):
            inside = attributes.get("name") in ("a", "b") and "list" in attributes
            named = "aria-label" in attributes or attributes.get("id") in labels
            assert inside or named or attributes.get("type") == "hidden", attributes


def test_the_overview_names_what_is_served_and_the_latest_runs(client: TestClient) -> None:
    text = page(client, "/").text
    assert "digits-keras 3 keras · small_cnn 0.9300 0.43 ms" in text
    assert "foreign" in text and "run-1 " not in text


def test_models_count_their_versions(client: TestClient, store: Path) -> None:
    assert "digits-keras 3 3 " in page(client, "/models").text
    reader = open_reader(Connection.parse(str(store)))
    models, total = named_models(reader, 100)
    (digits,) = (m for m in models if m.name == "digits-keras")
    assert (digits.versions, digits.kept, digits.newest.version) == (3, 1, 3)
    assert digits.served == digits.newest
    assert [m.name for m in named_models(reader, 2)[0]] == sorted([LONG, "other"])
    assert total == 6


def test_a_models_history_is_a_table_and_two_pictures(client: TestClient) -> None:
    found = page(client, "/models/digits-keras")
    assert "● latest 0.9300" in found.text and "– removed 0.9200" in found.text
    assert len(found.named("circle")) == 6
    assert "version 2: 0.92" in found.text


def test_a_models_page_has_its_facts_and_ancestry(
    client: TestClient, built: dict[str, BuiltRun]
) -> None:
    second = links.model_url(built["run-2"].artifacts["Trainer.model"])
    found = page(client, second)
    text = found.text
    for part in ("digits-keras@2", "0.9200 of 184 images", "blessed", "with uncommitted changes"):
        assert part in text
    assert "latency 0.42 ms" in text and "parameters not recorded" in text
    assert found.named("svg")[0]["class"] == "lineage"
    addresses = [a["href"] for a in found.named("a")]
    # The data steps were done by the first run; the first model is the baseline.
    assert addresses.count("/runs/run-1") > 4
    assert addresses.count(links.model_url(built["run-1"].artifacts["Trainer.model"])) == 2


def test_a_refused_models_page_says_why(client: TestClient, built: dict[str, BuiltRun]) -> None:
    found = page(client, links.model_url(built["refused"].artifacts["Trainer.model"]))
    assert "Why it was not blessed accuracy 0.5 is below 0.9 <img" in found.text
    assert "Pushed to place nowhere" in found.text


def test_a_runs_page_says_what_it_did(client: TestClient) -> None:
    text = page(client, "/runs/run-2").text
    assert "model digits-keras@2 accuracy 0.9200 verdict ✓ blessed" in text
    assert "Transform ↺ cached" in text and "run-1 1.5 s" in text
    broken = page(client, "/runs/broken")
    assert "✕ failed" in broken.text and '/opt/module_59.py"' in broken.text
    assert broken.text.count("module_59") == 1
    assert not [m for m in broken.named("meta") if m.get("http-equiv")]


def test_a_running_runs_page_renews_itself(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    going = builder.context("pipeline_run", "going", {"state": "running"})
    assert going
    found = page(browser(tmp_path / "metadata.sqlite"), "/runs/going")
    assert [m["content"] for m in found.named("meta") if m.get("http-equiv") == "refresh"] == ["10"]


def test_runs_are_filtered(client: TestClient) -> None:
    failed = {a["href"] for a in page(client, "/runs?state=failed").named("a")}
    assert {"/runs/broken", "/runs/run-1"} & failed == {"/runs/broken"}
    other = page(client, "/runs?pipeline=other&state=").text
    assert "foreign" in other and "run-1 " not in other
    assert "None." in page(client, "/runs?pipeline=nobody%27s").text


def test_runs_are_paged(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_RUNS", 4)
    seen: list[str] = []
    address: str | None = "/runs"
    while address is not None:
        found = page(client, address)
        shown = [a["value"] for a in found.named("input") if a.get("name") == "a"]
        assert 1 <= len(shown) <= 4 or "older" in address
        seen += shown
        following = [a["href"] for a in found.named("a") if a.get("rel") == "next"]
        address = following[0] if following else None
    assert len(seen) == len(set(seen)) >= 10
    assert seen[0] == "foreign" and seen[-1] in ("run-1", "run-2", "run-3")


def test_two_are_compared(client: TestClient, built: dict[str, BuiltRun]) -> None:
    found = page(client, links.diff_url("digits-keras@1", "run-3"))
    assert "learning_rate 0.001 0.003" in found.text
    assert "accuracy 0.91 0.93" in found.text
    same = page(client, links.diff_url("run-1", "run-1"))
    assert "all that is recorded of what made them is the same" in same.text
    a, b = (built[r].artifacts["Trainer.model"] for r in ("run-1", "run-2"))
    assert page(client, f"/diff?a={a}&b={b}").faults == []


@pytest.mark.parametrize(
    ("ref", "leads_to"),
    [
        ("run-2", "/runs/run-2"),
        (" digits-keras ", "/models/digits-keras"),
        ("other", "/models/other"),
        ("..", "/models?name=.."),
        (ODD, links.history_url(ODD)),
        ("digits-keras@1", "model of run-1"),
        ("{serving}/digits-keras/1", "model of run-1"),
        ("{examples}", "/runs/run-1"),
        ("{model}", "model of run-1"),
    ],
)
def test_search_leads_to_the_page(
    client: TestClient, store: Path, built: dict[str, BuiltRun], ref: str, leads_to: str
) -> None:
    first = built["run-1"].artifacts
    ref = ref.format(
        serving=store.parent / "serving",
        examples=first["ImageExampleGen.examples"],
        model=first["Trainer.model"],
    )
    response = client.get("/search", params={"q": ref})
    assert response.status_code == 303
    if leads_to == "model of run-1":
        leads_to = links.model_url(first["Trainer.model"])
    assert response.headers["location"] == leads_to


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/nowhere", "no page /nowhere"),
        ("/static/../app.py", "Nothing found"),
        ("/static/nothing.css", "Nothing found"),
        ("/runs/nobody", "no run 'nobody'"),
        ("/models/nobody", "'nobody'"),
        ("/model/999999999999999999999999", "Nothing is known"),
        ("/model/x", "no page /model/x"),
        ("/diff?a=run-1&b=nobody", "'nobody'"),
        ("/runs?older=nobody", "'nobody'"),
        ("/search?q=%3Cimg+src%3Dx%3E", "'<img src=x>'"),
        ("/search?q=" + "a" * 300, "a" * 300),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, address: str, said: str) -> None:
    found = page(client, address, 404)
    assert said in found.text and "Nothing found" in found.text
    assert found.faults == [] and not found.named("img")


@pytest.mark.parametrize(
    "address",
    [
        *("/search", "/search?q=", "/search?q=%20", "/search?q=a%00b", "/search?q=" + "a" * 1001),
        *("/runs?state=asleep", "/runs?older=", "/diff?a=run-1", "/diff?b=run-1", "/models?name="),
    ],
)
def test_questions_that_cannot_be_meant(client: TestClient, address: str) -> None:
    found = page(client, address, 400)
    assert "xpected" in found.text and found.faults == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_but_reading(client: TestClient, method: str) -> None:
    for address in ("/", "/runs/run-1", "/static/style.css", "/nowhere"):
        response = client.request(method, address)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD"


def test_head_is_get_without_the_page(client: TestClient) -> None:
    response = client.head("/runs/run-1")
    assert (response.status_code, response.text) == (200, "")


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for method, address in (
        *(("GET", a) for a in ("/", "/nowhere", "/runs?state=x", "/search?q=run-1")),
        *(("GET", a) for a in ("/static/style.css", "/static/lineage.css", "/static/icon.svg")),
        ("POST", "/"),
    ):
        headers = client.request(method, address).headers
        assert "default-src 'self'; script-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:81", 200), ("evil.example", 400), ("localhost.evil.example", 400), ("", 400)],
)
def test_other_sites_names_are_refused(client: TestClient, host: str, status: int) -> None:
    response = client.get("/", headers={"host": host})
    assert response.status_code == status
    assert status == 200 or "run-1" not in response.text


def test_store_trouble_is_said_and_passes(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "metadata.sqlite"
    client = browser(copy)
    assert "No metadata store at" in page(client, "/", 503).text
    copy.write_bytes(b"")
    assert "is empty" in page(client, "/runs", 503).text
    copy.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    found = page(client, "/model/1", 503)
    assert "Cannot read" in found.text and "Traceback" not in found.text and found.faults == []
    shutil.copy(store, copy)
    assert "run-1" in page(client, "/runs").text


def test_new_runs_appear(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    builder.run("one")
    client = browser(tmp_path / "metadata.sqlite")
    assert "two" not in page(client, "/").text
    builder.run("two", version=2)
    assert "two" in page(client, "/").text


def test_a_store_without_runs(tmp_path: Path) -> None:
    assert Builder(tmp_path / "metadata.sqlite").store.get_artifacts() == []
    client = browser(tmp_path / "metadata.sqlite")
    assert "Nothing was pushed yet." in page(client, "/").text
    for address, found in crawl(client).items():
        assert found.faults == [], address


@EXAMPLES
@given(st.text(min_size=1))
def test_addresses_keep_any_name(name: str) -> None:
    url = urlsplit(links.run_url(name))
    assert not {".", ".."} & set(unquote(url.path).split("/"))
    assert url.netloc == url.fragment == ""
    if url.query:
        assert parse_qs(url.query, keep_blank_values=True) == {"name": [name]}
    else:
        assert unquote(url.path.removeprefix("/runs/")) == name


@EXAMPLES
@given(
    st.lists(st.none() | st.floats(-1e9, 1e9).map(lambda v: round(v, 6)) | st.floats(), max_size=40)
)
def test_a_chart_holds_its_dots(values: list[float | None]) -> None:
    names = [str(i) for i in range(len(values))]
    chart = line_chart("accuracy", names, values)
    known = [v for v in values if v is not None and math.isfinite(v)]
    if chart is None:
        assert len(known) < 2
        return
    assert len(chart.dots) == len(known)
    assert all(0 <= d.x <= WIDTH and 0 <= d.y <= HEIGHT for d in chart.dots)
    assert 2 <= len(chart.ticks) <= 8
    assert sum(p.count("L") + 1 for p in chart.paths) <= len(known)
    rising = sorted(zip(known, (d.y for d in chart.dots), strict=True))
    assert all(b <= a + 0.1 for (_, a), (_, b) in itertools.pairwise(rising))


Ui = tuple["subprocess.Popen[str]", str]


@pytest.fixture
def ui(store: Path) -> Iterator[Ui]:
    """The real command, and its address."""
    process = start_python("-m", "pipeline.cli.main", "ui", "--metadata", str(store))
    assert process.stdout is not None
    line = process.stdout.readline()
    yield process, line.split()[0].rstrip("/")
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_the_command_serves_until_interrupted(ui: Ui) -> None:
    process, address = ui
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{address}/runs/run-1", timeout=30) as response:
        assert "digits-keras" in response.read().decode()
        assert response.headers["server"] is None
    dots = urllib.request.urlopen(address + links.history_url(".."), timeout=30)
    assert "<h1>..</h1>" in dots.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        urllib.request.urlopen(address + links.run_url("50%41/x"), timeout=30)
    assert "no run &#39;50%41/x&#39;" in missing.value.read().decode()
    port = address.rpartition(":")[2]
    again = python("-m", "pipeline.cli.main", "ui", "--metadata", "x", "--port", port)
    assert again.returncode == 5 and "No metadata store" in again.stderr
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_port_in_use_is_said(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = python("-m", "pipeline.cli.main", "ui", "--metadata", str(store), "--port", port)
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_not_ours_is_said(store: Path) -> None:
    done = python(
        "-m", "pipeline.cli.main", "ui", "--metadata", str(store), "--host", "203.0.113.7"
    )
    assert done.returncode == 2
    assert "Warning: whoever reaches 203.0.113.7" in done.stderr
    assert "is not an address of this machine" in done.stderr


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_pages_fit_phones_and_desks(ui: Ui, crawled: dict[str, Html], tmp_path: Path) -> None:
    _, address = ui
    chromium = Chromium(find_chromium() or "", tmp_path)
    try:
        for width in (390, 1280):
            for path in [*crawled, links.diff_url("run-1", "run-3"), "/runs?older=run-2"]:
                chromium.open(address + path, width=width)
                assert chromium.evaluate("document.documentElement.scrollWidth") <= width, path
                assert chromium.evaluate("document.querySelectorAll('h1').length") == 1, path
        assert chromium.complaints == []
        assert {a for a in chromium.asked if not a.startswith((address, "about:"))} == set()
    finally:
        chromium.close()
