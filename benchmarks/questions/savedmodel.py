"""PyTorch models as SavedModels, beside native PyTorch."""

from __future__ import annotations

from benchmarks.core.figures import Figure, Measured, Question, ratio
from benchmarks.core.lab import Lab
from benchmarks.core.peers import ask_peer

_MODELS = ("resnet18", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto")
_BATCHES = (1, 32)


def ask(lab: Lab) -> Measured:
    figures: list[Figure] = []
    size = 64 if lab.is_trial else 224
    models = _MODELS[:1] if lab.is_trial else _MODELS
    for model in models:
        found = ask_peer(lab.here, "peers.savedmodel", model, str(size), *map(str, _BATCHES))
        for batch, (native, saved) in found["milliseconds"].items():
            figures.append(ratio(f"{model}, batch {batch}", saved, native, reach=1.5, of="ms"))
            lab.say(f"  {model}, batch {batch}: {saved:.1f} ms, PyTorch {native:.1f} ms")
    return Measured(figures=tuple(figures), rounds=10)


QUESTIONS = (
    Question(
        name="savedmodel",
        title="PyTorch models as SavedModels on CPUs",
        text="""One batch of 224×224 through the exported SavedModel beside native PyTorch, in one
process, in turns; the least time of ten. All CPUs, random weights.""",
        ask=ask,
        ours="SavedModel",
        peer="PyTorch",
    ),
)
