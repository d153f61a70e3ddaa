"""The PyTorch backend: timm's architectures, two small networks, the user's own."""

from trainers.frameworks import APPLIES, OPTIONAL, Framework
from trainers.torch_backend import names

FRAMEWORK = Framework(
    name="pytorch",
    package=__name__,
    distribution="visionline[pytorch]",
    needs=("torch", "torchvision", "timm", "safetensors", "jax", "torchax", "onnxscript"),
    later=("timm", "torch.export._trace", "onnxscript.function_libs.torch_lib.ops"),
    unused=frozenset({"keras", "tf_keras"}),  # TensorFlow looks for them, for seconds
    model_names=names.model_names,
    counted=names.COUNTED,
    honours=OPTIONAL,
    applies=APPLIES,
)
