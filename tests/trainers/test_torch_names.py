"""`trainers.torch_backend.names` against timm itself."""

from __future__ import annotations

import subprocess
import sys
import time

import timm

from trainers.torch_backend import names


def test_names_are_timms() -> None:
    assert names.timm_names() == sorted(timm.list_models())
    assert names.model_names()[:2] == ["small_cnn", "resnet20"]


def test_listing_is_quick_and_imports_no_framework() -> None:
    code = (
        "import sys; from trainers.frameworks import get_framework;"
        "get_framework('pytorch').model_names();"
        "sys.exit(bool({'torch', 'timm', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        names.model_names()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
