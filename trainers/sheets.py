"""Some images in one picture, each with a caption."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from trainers.contract import Images

_COLUMNS = 8
_SIDE = 1.4
"""Inches that an image is drawn wide."""


def sheet(images_NHW3: Images, captions: Sequence[str]) -> bytes:
    """Draws images in rows of eight as a PNG; small ones enlarged, pixel by pixel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(images_NHW3)
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    _, height, width, _ = images_NHW3.shape
    lines = 1 + max(caption.count("\n") for caption in captions)
    tall = _SIDE * height / width + 0.16 * lines + 0.05
    figure = Figure(figsize=(columns * _SIDE, rows * tall), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (image_HW3, caption) in enumerate(zip(images_NHW3, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(image_HW3, interpolation="nearest" if width < 100 * _SIDE else "antialiased")
        axes.set_title(caption, fontsize=7, parse_math=False)
        axes.axis("off")
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
