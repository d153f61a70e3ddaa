"""The config of a training and of a run: ranges, files, flags, and how errors read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.config.strict import dump
from common.config.toml_file import settings
from common.errors import ConfigError
from common.files import write_json
from pipeline.config import PipelineConfig, load_config
from trainers.config import AugmentConfig, TrainConfig

pytestmark = pytest.mark.quick

FLAGS = {
    "data.path": "photos",
    "train.framework": "pytorch",
    "train.model": "small_cnn",
    "evaluate.min_accuracy": 0.5,
}
NAN = float("nan")


def load(*, without: str = "", **flags) -> PipelineConfig:
    given = {**FLAGS, **{k.replace("__", "."): v for k, v in flags.items()}}
    return load_config(None, {k: v for k, v in given.items() if k != without})


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(message: str):
    return pytest.raises(ConfigError, match=re.escape(message))


@pytest.mark.parametrize(
    ("key", "value"),
    [("framework", "torch"), ("model", ""), ("epochs", 0), ("batch_size", -1)]
    + [("learning_rate", v) for v in (0.0, -1.0, NAN, float("inf"))]
    + [("warmup_epochs", -0.1), ("weight_decay", NAN), ("momentum", 1.0), ("momentum", NAN)]
    + [("label_smoothing", 1.0), ("class_weights", {"cat": -1.0}), ("class_weights", {"cat": NAN})]
    + [("early_stopping_patience", -1), ("threads", -1), ("seed", -1), ("seed", 2**32)],
)
def test_a_training_value_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=f"^{key}"):
        TrainConfig(**{"framework": "keras", "model": "small_cnn", key: value})


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [("crop_padding", 0, 0.5), ("rotation", 0, 180), ("zoom", 0, 0.9)]
    + [(name, 0, 1) for name in ("brightness", "contrast", "saturation")],
)
def test_augmentation_ranges(key, lowest, highest):
    for value in (lowest, highest):
        AugmentConfig(**{key: value})
    for value in (lowest - 0.01, highest + 0.01, NAN):
        with pytest.raises(ConfigError, match=f"^{key}: expected 0 to {highest:g}, got"):
            AugmentConfig(**{key: value})


def test_augmentation_is_off_when_nothing_is_asked_for():
    off = {"horizontal_flip": False, "crop_padding": 0.0}
    assert not AugmentConfig(**off).enabled
    for key in ("rotation", "zoom", "brightness", "contrast", "saturation", "crop_padding"):
        assert AugmentConfig(**{**off, key: 0.1}).enabled
    assert AugmentConfig(**{**off, "horizontal_flip": True}).enabled


def test_flags_alone_are_enough():
    config = load()
    assert (config.name, config.pipeline_name) == ("photos", "photos")
    assert config.output == Path("visionline-runs/photos").absolute()
    assert config.destination == config.output / "serving"


def test_flags_win_over_the_file(tmp_path):
    path = written(
        tmp_path,
        """
        name = "cats"
        [data]
        path = "here"
        [train]
        framework = "pytorch"
        model = "resnet18"
        epochs = 3
        augment = {rotation = 5}
        [transform]
        image_size = [32, 48]
        [evaluate]
        min_accuracy = 0.9
        """,
    )
    config = load_config(path, {"train.epochs": 7, "train.augment.zoom": 0.1})
    assert (config.train.epochs, config.train.model) == (7, "resnet18")
    assert (config.train.augment.rotation, config.train.augment.zoom) == (5.0, 0.1)
    assert (config.name, config.transform.size) == ("cats", (32, 48))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not valid TOML"),
        (b"name = '\xff'", "is not valid TOML"),
        ("data = 3", "data: expected a table, got 3."),
    ],
)
def test_a_file_that_is_no_config(tmp_path, text, message):
    with refused(message):
        load_config(written(tmp_path, text), {})


def test_a_file_that_cannot_be_read(tmp_path):
    with refused("no.toml: No such file or directory."):
        load_config(tmp_path / "no.toml", {})
    with refused("Is a directory."):
        load_config(tmp_path, {})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("data.path", "--data FOLDER"),
        ("train.framework", "--framework keras or --framework pytorch"),
        ("train.model", "`visionline models`"),
        ("evaluate.min_accuracy", "nothing is pushed unjudged"),
    ],
)
def test_what_only_the_user_can_say_is_asked_for(key, words):
    with refused(words) as e:
        load(without=key)
    assert [line.split(":")[0].strip() for line in str(e.value).splitlines()[1:]] == [key]


def test_everything_missing_is_asked_for_at_once():
    with pytest.raises(ConfigError) as e:
        load_config(None, {})
    assert all(key in str(e.value) for key in FLAGS)


def test_a_misspelt_key_is_not_called_missing(tmp_path):
    path = written(tmp_path, '[train]\nframwork = "keras"\n')
    with refused("Unknown config key train.framwork. Did you mean 'framework'?"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train.framework": "keas"}, "unknown framework 'keas'. Did you mean 'keras'?"),
        ({"train.model": "resnet8"}, "pytorch has no model 'resnet8'. Did you mean 'resnet"),
        ({"train.input": "no_module:f"}, "train.input: no module 'no_module' to take"),
        ({"train.input": "streams"}, 'train.input: expected "arrays", "stream" or "package.m'),
        ({"train": 3}, "train: expected a table, got 3."),
        ({"train.model.x": 1}, "train.model: expected a table, got 'small_cnn'."),
        ({"evaluate.min_accuracy": 0}, "evaluate.min_accuracy: expected more than 0"),
        ({"evaluate.min_accuracy": 1.5}, "evaluate.min_accuracy: expected more than 0"),
        ({"evaluate.min_accuracy": NAN}, "evaluate.min_accuracy: expected more than 0"),
        ({"evaluate.max_regression": 1}, "max_regression: expected 0 or more and less than 1"),
        ({"evaluate.top_k": 0}, "evaluate.top_k: expected 1 or more"),
        ({"transform.image_size": 7}, "transform.image_size: expected 8 to 2048, got 7."),
        ({"transform.image_size": [32, 4096]}, "transform.image_size[1]: expected 8 to 2048"),
        ({"transform.image_size": [32]}, "transform.image_size: expected 2 values, got [32]."),
        ({"transform.resize": "strech"}, "Did you mean 'stretch'?"),
        ({"run.runner": "kubeflow"}, "run.runner: expected one of 'beam', 'local'"),
        ({"name": "../cats"}, "name: expected letters, digits, '.', '_' and '-', got '../cats'."),
        ({"pipeline": ""}, "pipeline: expected letters"),
        ({"schema.frozen": "no.pbtxt"}, "schema.frozen: no file 'no.pbtxt'"),
        ({"data.path": " "}, "data.path: expected a folder"),
        ({"data.path": 3}, "data.path: expected str, got 3."),
        ({"data.splits": {"train": 1.0}}, "data.splits.train: expected more than 0"),
        ({"train.pretrained": "no.pt"}, "found nothing at 'no.pt'. Weights are never downloaded."),
        ({"train.augment.zom": 1}, "Unknown config key train.augment.zom. Did you mean 'zoom'?"),
    ],
)
def test_values_that_cannot_be_used(flags, message):
    with refused(message):
        load_config(None, {**FLAGS, **flags})


def test_an_image_size_is_one_side_or_two():
    assert load(transform__image_size=64).transform.size == (64, 64)
    assert load(transform__image_size=[64, 32]).transform.size == (64, 32)


def test_own_models_are_looked_for_and_not_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_of_mine.py").write_text("raise RuntimeError('was imported')\n")
    assert load(train__model="nets_of_mine:build").train.model == "nets_of_mine:build"


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module", ""])
def test_an_own_model_that_is_not_there(module):
    with refused(f"no module {module!r} to take '{module}:build' from. Expected package.module"):
        load(train__model=f"{module}:build")


def test_an_own_package_that_is_broken(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("def (:\n")
    with refused("cannot import 'broken_package.nets' of 'broken_package.nets:f': SyntaxError"):
        load(train__model="broken_package.nets:f")


@EXAMPLES
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_folder_gives_a_name_that_can_be_used(folder):
    if folder.strip():
        assert load(data__path=folder).name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("my photos/", "my-photos"),
        ("_raw", "raw"),
        ("/", "model"),
        ("日本", "model"),
        ("data/cats/{SPAN}/v{VERSION}", "cats"),
        ("records.tfrecord", "records"),
        ("a" * 200, "a" * 100),
    ],
)
def test_the_name_comes_from_the_folder(path, name):
    assert load(data__path=path).name == name


def test_the_config_that_a_run_recorded_is_one(tmp_path):
    config = load()
    recorded = tmp_path / "config.json"
    write_json(recorded, dump(config))
    assert load_config(recorded, {}) == config
    assert load_config(recorded, {"train.epochs": 7}).train.epochs == 7
    for broken in ("{", "[1]", ""):
        recorded.write_text(broken)
        with refused("config.json is not valid JSON"):
            load_config(recorded, {})


# --- Keys of --set


@pytest.mark.parametrize(
    "text",
    [
        'train.class_weights."st.bernard"=2',
        "train.class_weights.'st.bernard'=2",
        'train . class_weights . "st\\u002Ebernard" =2',
        "train.class_weights.st.bernard=2",  # what a shell makes of the first
        'train.class_weights={"st.bernard" = 2}',
        "train.class_weights={st.bernard = 2}",
    ],
)
def test_a_class_whose_name_has_a_dot_can_be_set(text):
    config = load_config(None, {**FLAGS, **settings([text])})
    assert config.train.class_weights == {"st.bernard": 2.0}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("it's", "it's"),
        ("žába", "žába"),
        ("St Bernard", "St Bernard"),
        ('"a=b"', "a=b"),
        ("'say \"hi\"'", 'say "hi"'),
        ('"žá.ba"', "žá.ba"),
    ],
)
def test_a_class_of_any_name_can_be_set(key, name):
    config = load_config(None, {**FLAGS, **settings([f"train.class_weights.{key}=2"])})
    assert config.train.class_weights == {name: 2.0}


@pytest.mark.parametrize("key", ['"st.bernard', '"st"bernard', "'"])
def test_a_quote_that_does_not_end_is_refused_with_the_syntax(key):
    with refused('expected a key in TOML\'s syntax, such as table."name.with.dots".'):
        load_config(None, {**FLAGS, **settings([f"train.class_weights.{key}=2"])})


def test_a_table_in_a_class_s_place_stays_wrong():
    with refused("train.class_weights.st.bernard: expected float, got 'x'."):
        load(train__class_weights={"st": {"bernard": "x"}})
