"""Reads an HTML page as strictly as it was meant to be written."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img"}
SHAPES = {"rect", "path", "circle"}
"""SVG's, which may close themselves."""
ADDRESSES = {"href", "src", "action", "data", "srcset", "poster", "formaction", "xlink:href"}


class Html(HTMLParser):
    """A page's parts; what is wrong with it is in `faults`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self._open]
        self._check()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def addresses(self) -> list[str]:
        """All that is linked to or loaded."""
        return [v for _, a in self.tags for k, v in a.items() if k in ADDRESSES]

    def named(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a name."""
        return [a for t, a in self.tags if t == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [k for k, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> has an attribute twice: {names}")
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in SHAPES:
            self._open.pop()
        elif tag not in VOID:
            self.faults.append(f"<{tag}/> does not close itself in HTML")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else, line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def _check(self) -> None:
        ids = [a["id"] for _, a in self.tags if "id" in a]
        self.faults += [f"id {i} twice" for i in set(ids) if ids.count(i) > 1]
        for tag, attributes in self.tags:
            events = [k for k in attributes if k.startswith("on")]
            if (
                tag == "script"
                or events
                or "style" in attributes
                or "javascript:" in str(attributes)
            ):
                self.faults.append(f"<{tag}> would be refused by the policy: {attributes}")
            if tag == "th" and "scope" not in attributes:
                self.faults.append(f"<th> without scope: {attributes}")
        for tag in ("h1", "main", "title", "header", "footer", "nav"):
            if tag != "title" and len(self.named(tag)) != 1:
                self.faults.append(f"{len(self.named(tag))} <{tag}>")
