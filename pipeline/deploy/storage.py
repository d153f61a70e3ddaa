"""Where a cluster finds the serving folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from common.config.ranges import require
from pipeline.kubernetes.grammar import is_subdomain

Scheme = Literal["s3", "gs", "pvc"]
_EXPECTED = "expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or pvc://CLAIM/FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A serving folder as KServe names it; `<folder>/<model>/<version>/` is below it."""

    scheme: Scheme
    place: str
    """The bucket, or the PersistentVolumeClaim."""
    folder: str
    """Within it, without slashes at the ends; empty: its root."""

    @property
    def is_claim(self) -> bool:
        return self.scheme == "pvc"

    def below(self, *parts: str) -> str:
        """Returns the path of something in the folder, from the root of the bucket or claim."""
        return "/".join(p for p in (self.folder, *parts) if p)

    def uri(self, *parts: str) -> str:
        """Ends with a slash: without, S3 takes version 10 for a part of version 1."""
        return f"{self.scheme}://{self.place}/{self.below(*parts)}/"


def parse_storage(text: str) -> Storage:
    """Reads a storage URI.

    Raises:
      ConfigError: another scheme, no bucket or claim, or a path that leads elsewhere.
    """
    scheme, separator, rest = text.partition("://")
    known = bool(separator) and scheme in ("s3", "gs", "pvc")
    require(known, f"storage: {_EXPECTED}, got {text!r}.")
    place, _, folder = rest.partition("/")
    if scheme == "pvc":
        require(is_subdomain(place), f"storage: {place!r} in {text!r} is no name of a claim.")
    else:
        bucket = re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", place)
        require(bucket is not None, f"storage: {place!r} in {text!r} is no name of a bucket.")
    folder = folder.removesuffix("/")
    parts = folder.split("/") if folder else []
    plain = all(re.fullmatch(r"[A-Za-z0-9._=+@-]+", p) and p not in (".", "..") for p in parts)
    require(plain, f"storage: expected a plain path in {text!r}: letters, digits and ._=+@-/.")
    return Storage(scheme=cast(Scheme, scheme), place=place, folder=folder)
