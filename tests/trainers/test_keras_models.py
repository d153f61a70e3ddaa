"""What only the Keras backend does: preprocessing of families, Keras files, its optimizers."""

from __future__ import annotations

import logging
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_of import batch_of

from common.errors import ConfigError, TrainingError
from trainers.config import TrainConfig
from trainers.contract import load_backend

SIZE = (32, 32)


@pytest.fixture(scope="session")
def backend() -> Any:
    backend = load_backend("keras")
    backend.configure(threads=2, seed=0)
    return backend


def build(backend: Any, model: str, classes: int = 4, size: Any = SIZE, **values: Any) -> Any:
    config = TrainConfig(framework="keras", model=model, **values)
    return backend.build(config, num_classes=classes, image_size=size)


def random_images(count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def one_step(learner: Any, rate: float = 1e-2) -> None:
    classes = learner.model.output_shape[-1]
    learner.train_step(batch_of(random_images(4), np.arange(4) % classes, classes=classes), rate)


@pytest.mark.parametrize(
    "family",
    ["mobilenet_v2", "densenet", "vgg16", "resnet", "resnet_v2", "xception", "nasnet"],
)
def test_preprocessing_layer_is_that_of_the_family(
    backend: Any, family: str, tmp_path: Path
) -> None:
    import keras

    from trainers.keras_backend import models

    module = sys.modules[f"keras.src.applications.{family}"]
    normalise = models._preprocessing(module)
    assert normalise is not None
    inputs = keras.Input((*SIZE, 3))
    layer = keras.Model(inputs, normalise(inputs))
    images = random_images(2).astype(np.float32)
    expected = module.preprocess_input(images.copy())
    layer.save(tmp_path / "layer.keras")
    for model in (layer, keras.saving.load_model(tmp_path / "layer.keras")):
        np.testing.assert_allclose(model(images), expected, atol=1e-4)
        assert not model.trainable_variables


@pytest.mark.parametrize("family", ["efficientnet", "efficientnet_v2", "convnext", "mobilenet_v3"])
def test_families_that_preprocess_in_the_model_get_no_layer(backend: Any, family: str) -> None:
    from trainers.keras_backend import models

    assert models._preprocessing(sys.modules[f"keras.src.applications.{family}"]) is None


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_applications_predict_after_saving(backend: Any, name: str, tmp_path: Path) -> None:
    import keras

    arguments = {"alpha": 0.35} if name == "MobileNetV2" else {}
    learner = build(backend, name, model_args=arguments)
    bare = getattr(keras.applications, name)(
        weights=None, classes=4, input_shape=(*SIZE, 3), **arguments
    )
    assert learner.parameter_count == sum(w.numpy().size for w in bare.trainable_variables)
    images = random_images(3)
    learner.save(tmp_path)
    scores = learner.predict(images)
    np.testing.assert_allclose(scores.sum(axis=1), np.ones(3), atol=1e-6)
    np.testing.assert_allclose(backend.load(tmp_path).predict(images), scores, atol=1e-6)


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "VGG16"])
def test_model_file_is_standard_keras(backend: Any, name: str, tmp_path: Path) -> None:
    import keras

    from trainers.keras_backend import models

    model = models.build(name, {}, num_classes=4, image_size=SIZE)
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    modules = set(re.findall(r'"module": "([^"]*)"', config))
    assert modules and all(module.split(".")[0] == "keras" for module in modules)
    assert not re.search(r'"registered_name": "[^"]*>', config)  # No class of ours.
    images = random_images(2).astype(np.float32)
    np.testing.assert_allclose(keras.saving.load_model(path)(images), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "size", "arguments", "message"),
    [
        ("VGG16", (16, 16), {}, "VGG16 takes images of at least 32×32 pixels, got 16×16"),
        ("Xception", (64, 64), {}, "at least 71×71"),
        ("MobileNetV2", SIZE, {"alhpa": 0.35}, "'alpha'"),
        ("MobileNetV2", SIZE, {"weights": "imagenet"}, "model_args.weights"),
        ("MobileNetV2", SIZE, {"alpha": "big"}, "MobileNetV2 cannot be built"),
        ("mobilenetv2", SIZE, {}, "'MobileNetV2'"),
    ],
)
def test_applications_refuse_clearly(
    backend: Any, model: str, size: tuple[int, int], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(backend, model, size=size, model_args=arguments)


def test_model_that_cannot_be_saved_is_refused_before_training(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lambda_models.py").write_text(
        "import keras\n"
        "def net(num_classes, image_size):\n"
        "    images = keras.Input((*image_size, 3))\n"
        "    x = keras.layers.Lambda(lambda x: x * 2)(images)\n"
        "    x = keras.layers.GlobalAveragePooling2D()(x)\n"
        "    return keras.Model(images, keras.layers.Dense(num_classes)(x))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="cannot be saved and loaded again"):
        build(backend, "lambda_models:net")


class TestOnnx:
    """What tf2onnx cannot write by itself."""

    MODULE = (
        "import keras\n"
        "def net(num_classes, image_size):\n"
        "    images = keras.Input((*image_size, 3))\n"
        "    mean, variance = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]\n"
        "    x = keras.layers.Normalization(mean=mean, variance=variance)(images)\n"
        "    x = keras.layers.Conv2D(6, 3, groups=3, activation='gelu')(x)\n"
        "    return keras.Model(images, head(x, num_classes))\n"
        "def exotic(num_classes, image_size):\n"
        "    images = keras.Input((*image_size, 3))\n"
        "    return keras.Model(images, head(keras.ops.erfinv(images / 2), num_classes))\n"
        "def head(x, num_classes):\n"
        "    x = keras.layers.GlobalAveragePooling2D()(x)\n"
        "    return keras.layers.Dense(num_classes)(x)\n"
    )

    @pytest.fixture
    def native(self, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        (tmp_path / "onnx_models.py").write_text(self.MODULE)
        monkeypatch.syspath_prepend(tmp_path)

        def native(function: str) -> Any:
            learner = build(backend, f"onnx_models:{function}")
            learner.save(tmp_path)
            return learner

        return native

    def test_normalization_grouped_convolution_and_gelu(
        self, backend: Any, native: Any, tmp_path: Path
    ) -> None:
        import onnxruntime

        learner = native("net")
        learner.to_onnx(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
        images = random_images(3)
        (scores,) = session.run(None, {"images": images})
        np.testing.assert_allclose(scores, learner.predict(images), atol=1e-5)

    def test_operations_that_onnx_lacks_are_named(
        self, backend: Any, native: Any, tmp_path: Path
    ) -> None:
        learner = native("exotic")
        with pytest.raises(TrainingError, match="Erfinv"):
            learner.to_onnx(tmp_path / "model.onnx")
        assert not (tmp_path / "model.onnx").exists()
        with pytest.raises(
            ConfigError, match=r"onnx_models:exotic cannot be exported as ONNX.*Erfinv"
        ):
            learner.prepare_export()


class TestPretrained:
    """`config.pretrained` from the files Keras writes."""

    @pytest.mark.parametrize("kind", ["file", "folder", "weights", "bare weights"])
    def test_same_classes_give_the_same_model(
        self, backend: Any, tmp_path: Path, kind: str
    ) -> None:
        from trainers.keras_backend.models import network_of

        learner = build(backend, "small_cnn")
        one_step(learner)
        learner.save(tmp_path)
        path = tmp_path / "some.weights.h5"
        if kind == "weights":
            learner.model.save_weights(path)
        elif kind == "bare weights":
            network_of(learner.model).save_weights(path)
        else:
            path = tmp_path / "model.keras" if kind == "file" else tmp_path
        again = build(backend, "small_cnn", seed=1, pretrained=str(path))
        images = random_images(3)
        np.testing.assert_array_equal(again.predict(images), learner.predict(images))

    @pytest.mark.parametrize("name", ["resnet20", "MobileNetV3Small"])
    def test_other_classes_start_with_a_fresh_classifier(
        self, backend: Any, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        learner = build(backend, name)
        learner.save(tmp_path)
        with caplog.at_level(logging.INFO):
            other = build(backend, name, classes=7, seed=1, pretrained=str(tmp_path))
        assert "classifier" in caplog.text
        assert other.predict(random_images(2)).shape == (2, 7)
        pairs = list(zip(learner.model.weights, other.model.weights, strict=True))
        for ours, theirs in pairs[:-2]:
            np.testing.assert_array_equal(ours, theirs)
        assert [theirs.shape[-1] for _, theirs in pairs[-2:]] == [7, 7]

    def test_plain_keras_weights_of_a_preprocessed_family(
        self, backend: Any, tmp_path: Path
    ) -> None:
        import keras

        path = tmp_path / "net.weights.h5"
        bare = keras.applications.MobileNetV2(
            weights=None, classes=4, input_shape=(*SIZE, 3), alpha=0.35
        )
        bare.save_weights(path)
        arguments = {"alpha": 0.35}
        learner = build(backend, "MobileNetV2", model_args=arguments, pretrained=str(path))
        images = random_images(2)
        expected = bare(images / np.float32(127.5) - 1)
        np.testing.assert_allclose(learner.predict(images), expected, atol=1e-5)

    def test_imagenet_scale_of_efficientnet_is_repaired(self, backend: Any, tmp_path: Path) -> None:
        from trainers.keras_backend import models, pretrained

        model = models.build("EfficientNetB0", {}, num_classes=4, image_size=SIZE)
        layer = next(x for x in model.layers if x.name.startswith("normalization"))
        deviations = np.array([0.229, 0.224, 0.225])
        layer.set_weights([np.array([0.485, 0.456, 0.406]), deviations, np.array(0)])
        path = tmp_path / "imagenet.weights.h5"
        model.save_weights(path)
        pretrained.load(model, str(path), num_classes=4)
        pixel = np.array([[[[0.485 + 0.229, 0.456, 0.406 - 0.225]]]], np.float32)
        np.testing.assert_allclose(layer(pixel).numpy().ravel(), [1, 0, -1], atol=1e-5)

    def test_weights_of_another_model_are_refused(self, backend: Any, tmp_path: Path) -> None:
        build(backend, "small_cnn").save(tmp_path)
        with pytest.raises(ConfigError, match=r"expected .* arrays, found"):
            build(backend, "resnet20", pretrained=str(tmp_path))

    def test_weights_of_another_width_are_refused(self, backend: Any, tmp_path: Path) -> None:
        build(backend, "MobileNetV2", model_args={"alpha": 0.35}).save(tmp_path)
        with pytest.raises(ConfigError, match="of shape"):
            build(backend, "MobileNetV2", pretrained=str(tmp_path))

    @pytest.mark.parametrize(
        ("name", "message"),
        [("a.h5", "weights.h5 file, got a.h5"), ("a.keras", "cannot read"), ("", "found none")],
    )
    def test_other_files_are_refused(
        self, backend: Any, tmp_path: Path, name: str, message: str
    ) -> None:
        if name:
            (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(ConfigError, match=message):
            build(backend, "small_cnn", pretrained=str(tmp_path / name))
