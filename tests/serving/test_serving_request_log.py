"""The sampled log of requests: what is in it, what bounds it, and what it is good for.

That a server fills it: test_serving_tls.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import threading
import time

import numpy as np
import pytest
from helpers import ROOT, largest_file, python, wait_until
from PIL import Image
from served_requests import log_all, request

from common.errors import ConfigError
from common.images.pixels import check_image
from modelstore.raw_example import RESERVED
from serving.cli import load_config
from serving.config import RequestLogConfig
from serving.logs import request_log
from serving.logs.request_log import RequestLog


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    """Loaded before there is a log, as in a server."""
    import tensorflow

    return tensorflow


def logging(folder, **config):
    config = {"sample": 1.0, "flush_seconds": 1000.0, **config}
    return RequestLog(RequestLogConfig(folder=str(folder), **config), retry_seconds=0.05)


def encode(format, mode="RGB", size=(8, 6), **options):
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(out, format, **options)
    return out.getvalue()


def files(folder):
    return sorted(folder.glob("requests-*.tfrecord.gz"))


def examples(folder):
    """Each example's features, as what they hold."""
    import tensorflow as tf

    found = []
    for path in files(folder):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            values = {k: getattr(v, v.WhichOneof("kind")).value for k, v in features.items()}
            assert all(len(v) == 1 for v in values.values())
            found.append({k: v[0] for k, v in values.items()})
    return found


# --- What is in it


@pytest.mark.parametrize(
    ("encoded", "format", "channels", "normalised"),
    [
        (encode("PNG"), b"png", 3, None),
        (encode("PNG", "L"), b"png", 1, None),
        (encode("PNG", "P"), b"png", 3, b"transparency"),
        (encode("PNG", "RGBA"), b"png", 3, b"transparency"),
        (encode("JPEG"), b"jpeg", 3, None),
        (encode("JPEG", "CMYK"), b"jpeg", 3, b"CMYK"),
        (encode("GIF"), b"png", 3, b"gif"),
        (encode("BMP"), b"png", 3, b"bmp"),
        (encode("WEBP"), b"jpeg", 3, b"webp"),
    ],
)
def test_a_file_is_logged_as_the_model_saw_it(tmp_path, encoded, format, channels, normalised):
    log = logging(tmp_path)
    before = time.time() * 1000
    log(*request([encoded], ["7"], request_id="an id \udc80"))
    log.close()
    (example,) = examples(tmp_path)
    (file,) = files(tmp_path)
    assert before - 1 < example.pop("served/milliseconds") < time.time() * 1000 + 1
    assert example.pop("served/score") == pytest.approx(0.91)
    assert example.pop("served/normalised", None) == normalised
    ingested = check_image(encoded, max_pixels=100)
    again = check_image(example["image/encoded"], max_pixels=100)
    assert again.encoded == example["image/encoded"] and again.normalised is None
    assert example == {
        "image/encoded": ingested.encoded,
        "image/format": format,
        "image/path": f"{file.name}#0".encode(),
        "image/sha256": hashlib.sha256(encoded).hexdigest().encode(),
        "image/width": 8,
        "image/height": 6,
        "image/channels": channels,
        "image/bytes": len(encoded),
        "served/model": b"digits",
        "served/version": 3,
        "served/label": b"7",
        "served/came_as": b"file",
        "served/protocol": b"",
        "served/request_id": b"an id ?",
    }


def test_pixels_are_logged_as_png_one_example_for_each(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    log = logging(tmp_path)
    log(*request(pixels, ["1", "2", "3"]))
    log.close()
    found = examples(tmp_path)
    assert [e["served/label"] for e in found] == [b"1", b"2", b"3"]
    for example, expected in zip(found, pixels, strict=True):
        assert example["image/format"] == b"png"
        assert example["served/came_as"] == b"pixels"
        with Image.open(io.BytesIO(example["image/encoded"])) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
    assert log.counts == request_log.Counts(logged=3)


@pytest.mark.parametrize("sample", [0.0, 0.25, 1.0])
def test_a_share_of_the_requests_is_drawn(tmp_path, sample):
    image = encode("PNG", "L", (1, 1))
    log = logging(tmp_path, sample=sample)
    for _ in range(2000):
        log(*request([image], ["0"]))
    log.close()
    # Five standard deviations of the binomial.
    assert abs(log.counts.logged - 2000 * sample) <= 5 * (2000 * sample * (1 - sample)) ** 0.5
    assert len(examples(tmp_path)) == log.counts.logged


# --- Files


def test_files_are_bounded_and_the_oldest_go(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (60, 60, 60, 3), dtype=np.uint8)
    log = logging(tmp_path, max_file_megabytes=0.05, max_total_megabytes=0.2)
    (tmp_path / "requests-of-somebody.txt").write_text("stays")
    for number in range(60):
        log(*request(pixels[number : number + 1], ["0"], request_id=str(number)))  # 11 kB
    log.close()
    sizes = [path.stat().st_size for path in files(tmp_path)]
    assert 3 <= len(sizes) <= 4
    assert all(40_000 < size < 65_000 for size in sizes)
    assert sum(sizes) <= 200_000
    kept = [int(e["served/request_id"]) for e in examples(tmp_path)]
    assert kept == list(range(60 - len(kept), 60))
    assert log.counts.logged == 60
    assert (tmp_path / "requests-of-somebody.txt").exists()


def test_a_file_is_there_when_it_is_complete_and_after_some_seconds(tmp_path):
    log = logging(tmp_path, flush_seconds=0.3)
    log(*request([encode("PNG")], ["0"]))
    wait_until(lambda: list(tmp_path.iterdir()), 10)
    assert not files(tmp_path)
    wait_until(lambda: files(tmp_path), 10)
    assert len(examples(tmp_path)) == 1
    assert [p.name for p in tmp_path.glob(".*")] == []
    assert files(tmp_path)[0].stat().st_mode & 0o007 == 0
    log.close()
    assert len(files(tmp_path)) == 1


def test_what_a_killed_server_left_is_removed_and_nothing_of_a_living_one(tmp_path):
    living = logging(tmp_path)
    living(*request([encode("PNG")], ["0"]))
    wait_until(lambda: list(tmp_path.glob(".*")), 10)
    # The kernel frees a lock when its process ends, however it does.
    (tmp_path / ".requests-20260101T000000.000000Z-0.tfrecord.gz.tmp").write_bytes(b"half a")
    assert len(list(tmp_path.glob(".*"))) == 2
    logging(tmp_path).close()
    assert len(list(tmp_path.glob(".*"))) == 1
    living.close()
    assert list(tmp_path.glob(".*")) == []
    assert len(examples(tmp_path)) == 1


# --- Trouble


def test_what_cannot_be_written_is_told_once_and_counted(tmp_path, caplog):
    log = logging(tmp_path, max_file_megabytes=0.01)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 60, 60, 3), dtype=np.uint8)
    with largest_file(4096):  # every write beyond fails, as on a full disk
        for _ in range(20):
            log(*request(pixels, ["0"]))
            time.sleep(0.02)
        wait_until(lambda: log.counts.dropped == 20, 10)
    assert log.counts.logged == 0
    (told,) = caplog.records
    assert "The request log cannot be written: " in told.getMessage()
    time.sleep(0.1)
    log(*request(pixels, ["0"]))
    log.close()
    assert [r.getMessage() for r in caplog.records[1:]] == ["The request log is written again."]
    assert log.counts == request_log.Counts(logged=1, dropped=20)
    assert list(tmp_path.glob(".*")) == []
    assert len(examples(tmp_path)) == 1


def test_a_folder_that_goes_and_comes_back(tmp_path, caplog):
    folder = tmp_path / "requests"
    log = logging(folder, flush_seconds=0.05)
    shutil.rmtree(folder)
    log(*request([encode("PNG")], ["0"]))
    wait_until(lambda: log.counts.dropped == 1, 10)
    folder.mkdir()
    time.sleep(0.1)
    log(*request([encode("PNG")], ["0"]))
    wait_until(lambda: log.counts.logged == 1, 10)
    log.close()
    assert len(caplog.records) == 2


def test_requests_that_it_has_no_time_for_are_left_out_and_do_not_wait(
    tmp_path, monkeypatch, caplog
):
    pixels = np.random.default_rng(4).integers(0, 256, (1, 300, 300, 3), dtype=np.uint8)
    monkeypatch.setattr(request_log, "QUEUE_BYTES", 4 * pixels.nbytes)
    log = logging(tmp_path)
    asked = request(pixels, ["0"])
    seconds = []
    for _ in range(200):
        began = time.perf_counter()
        log(*asked)
        seconds.append(time.perf_counter() - began)
    log.close()
    assert sorted(seconds)[len(seconds) // 2] < 0.05
    assert log.counts.logged >= 4
    assert log.counts.dropped >= 100
    assert log.counts.logged + log.counts.dropped == 200
    assert len(examples(tmp_path)) == log.counts.logged
    (told,) = caplog.records
    assert told.getMessage().startswith(f"The request log left out {log.counts.dropped} images")


def test_many_threads_lose_nothing(tmp_path):
    log = logging(tmp_path)
    image = encode("PNG", "L")

    def client(number):
        for index in range(50):
            log(*request([image, image], ["1", "2"], request_id=f"{number}-{index}"))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = [(e["served/request_id"], e["served/label"]) for e in examples(tmp_path)]
    assert len(found) == len(set(found)) == 800
    log(*request([image], ["1"]))
    assert log.counts == request_log.Counts(logged=800, dropped=1)


# --- Config


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"Missing config key request_log\.folder"),
        ('folder = ""', r"request_log\.folder: expected a folder's name"),
        ('folder = "x"\nsample = 1.5', r"request_log\.sample: expected 0 to 1, got 1\.5"),
        ('folder = "x"\nsample = nan', r"request_log\.sample: expected 0 to 1, got nan"),
        ('folder = "x"\nflush_seconds = 0', r"flush_seconds: expected more than 0 and at most"),
        ('folder = "x"\nmax_file_megabytes = inf', r"max_file_megabytes: expected more than 0"),
        ('folder = "x"\nmax_total_megabytes = 1', r"expected at least max_file_megabytes \(64\)"),
        ('folder = "x"\nsampel = 0.5', r"request_log\.sampel.*'sample'"),
    ],
)
def test_bad_values_are_refused(tmp_path, text, reason):
    (tmp_path / "serve.toml").write_text(f"[request_log]\n{text}\n")
    with pytest.raises(ConfigError, match=reason):
        load_config(tmp_path / "serve.toml", {"serving": str(tmp_path)})


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/requests"):
        with pytest.raises(ConfigError, match=r"request_log\.folder: .*expected a folder to write"):
            logging(folder)
    logging(tmp_path / "made" / "on the way").close()
    assert (tmp_path / "made" / "on the way").is_dir()


# --- What it is good for


def code_of_the_page():
    page = (ROOT / "docs" / "serving-request-log.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)


def test_drift_shows_and_nothing_else(demo, tmp_path):
    """The page's own code, on traffic like the training images and on other."""
    drift, _ = code_of_the_page()
    images = [(p.read_bytes(), p.parent.name) for p in sorted(demo.images.glob("*/*.png"))]
    for name in ("same", "other"):
        (tmp_path / name / "build").mkdir(parents=True)
        (tmp_path / name / "build" / "demo").symlink_to(demo.root)
    log_all(tmp_path / "same" / "requests", images[::3])
    photos = [(encode("JPEG", size=(64, 48)), "3")] * 80 + [(encode("GIF", "L"), "3")] * 20
    log_all(tmp_path / "other" / "requests", images[::5] + photos)
    code = (
        "import os, sys\n"
        "for name in ('same', 'other'):\n"
        "    print(name)\n"
        "    os.chdir(os.path.join(sys.argv[1], name))\n"
        "    exec(sys.argv[2])\n"
    )
    done = python("-c", code, str(tmp_path), drift)
    assert done.returncode == 0, done.stderr[-3000:]
    same, other = done.stdout.removeprefix("same\n").split("other\n")
    assert same == ""
    found = {line.partition(":")[0] for line in other.splitlines()}
    maybe = found & {"image/bytes"}
    assert found == {"label", "image/width", "image/height", "image/channels"} | maybe


def test_labelled_it_is_ingested_and_before_that_it_is_not(tmp_path, monkeypatch):
    import tensorflow as tf

    from common.images.plain import DEPTH
    from components.example_gen.config import Columns
    from components.example_gen.ingest import Ingest
    from components.example_gen.records import Shard
    from components.example_gen.splits import plan_by_hash
    from components.example_gen.spool import Spool

    def ingest(folder):
        spool = Spool(path=tmp_path / f"{folder.name} spool", plan=plan_by_hash([], {"train": 1.0}))
        spool.path.mkdir()
        limits = 10**6, spool, DEPTH
        ingesting = Ingest(os.fsencode(folder), *limits, "tfrecord", Columns())
        ingesting.setup()
        ingesting.start_bundle()
        for file in files(folder):
            ingesting.process(pickle.dumps(Shard(path=file.name.encode())))
        (bundle,) = [windowed.value for windowed in ingesting.finish_bundle()]
        ingesting.teardown()
        written = [str(f) for f in spool.path.glob("*.gz")]
        serialised = list(tf.data.TFRecordDataset(written, "GZIP").as_numpy_iterator())
        return serialised, list(spool.notes(bundle))

    kinds = [encode("PNG"), encode("JPEG"), encode("GIF"), encode("PNG", "RGBA")]
    log_all(tmp_path / "requests", [(image, "1") for image in kinds])
    serialised, notes = ingest(tmp_path / "requests")
    assert not serialised
    assert any("expected a column with the labels" in e for n in notes for e in n.errors)

    _, label = code_of_the_page()
    looked_at = {hashlib.sha256(image).hexdigest(): "2" for image in kinds}
    (tmp_path / "labels.json").write_text(json.dumps(looked_at))
    monkeypatch.chdir(tmp_path)
    exec(label, {})
    serialised, notes = ingest(tmp_path / "labelled")
    assert [n.errors for n in notes] == [[]] * len(notes)
    # The log has them as the model saw them: ingestion changes them no more.
    assert [i.normalised for n in notes for i in n.images] == [None] * 4

    assert len(serialised) == 4
    found = set()
    for data in serialised:
        features = tf.train.Example.FromString(data).features.feature
        assert set(features) == RESERVED
        assert features["label"].bytes_list.value == [b"2"]
        found.add(features["image/encoded"].bytes_list.value[0])
    assert found == {check_image(image, max_pixels=100).encoded for image in kinds}
