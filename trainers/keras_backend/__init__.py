"""The Keras backend, on TensorFlow (see trainers.contract.Backend)."""

from trainers.frameworks import APPLIES, OPTIONAL, Framework
from trainers.keras_backend import names

FRAMEWORK = Framework(
    name="keras",
    package=__name__,
    distribution="visionline[keras]",
    needs=("keras", "tf2onnx"),
    later=("tf2onnx",),
    model_names=names.model_names,
    counted=names.COUNTED,
    honours=OPTIONAL,
    applies=APPLIES,
)
