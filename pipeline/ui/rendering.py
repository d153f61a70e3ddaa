"""Templates and what they are filled with: the page's, and of a model also as one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lineage.drawing.depict import depict
from lineage.drawing.drawing import STYLE, Node, svg
from lineage.drawing.sections import figures, sections
from lineage.questions.model import ModelLineage, lineage_of
from lineage.store.reader import Reader
from lineage.store.records import Artifact
from pipeline.ui import links, words

HERE = Path(__file__).parent
_LINKS = ("run_url", "history_url", "model_url", "diff_url", "with_query")


def templates(store: str) -> Environment:
    """The page's templates, which link to each other."""
    return _environment(store=store, **{name: getattr(links, name) for name in _LINKS})


def model_file(reader: Reader, model: Artifact) -> str:
    """A model's page as a document that needs nothing else: no server, network or script."""
    style = STYLE + (HERE / "static" / "style.css").read_text()
    environment = _environment(
        store=reader.where, style=Markup(style), **dict.fromkeys(_LINKS, lambda *_: None)
    )
    values = model_values(reader, model)
    return environment.get_template("model.html").render(layout="file.html", **values)


def contact_sheet(**values: Any) -> str:
    """Pictures of data as a document that needs nothing else, too."""
    style = Markup((HERE / "static" / "style.css").read_text())
    return _environment(style=style).get_template("contact_sheet.html").render(values)


def model_values(
    reader: Reader, model: Artifact, link: Callable[[Node], str | None] | None = None
) -> dict[str, Any]:
    """What the template of a model's page shows.

    Args:
      link: the address that a box of the picture leads to, if any.
    """
    lineage = lineage_of(reader, model)
    return {
        "lineage": lineage,
        "name": name_of(lineage),
        "sections": sections(lineage),
        "figures": figures(lineage),
        "picture": Markup(svg(depict(reader, model, lineage), style=False, link=link)),
    }


def name_of(lineage: ModelLineage) -> str:
    """What people call a model: its last name@version, or else its artifact's id."""
    for push in reversed(lineage.pushes):
        if push.name is not None:
            return f"{push.name}@{push.version}"
    return f"Model {lineage.model.artifact_id}"


def _environment(**values: Any) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.globals.update(values)
    return environment
