"""What is wrong with an image."""

from __future__ import annotations


class BadImage(Exception):
    """An image that cannot be used; `reason` and `detail` as in `Quarantined`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
