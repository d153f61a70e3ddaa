"""What two schemas of raw examples say, made comparable."""

from __future__ import annotations

from typing import Any

from lineage.graph import facts
from lineage.questions.recorded import flat


def schema_tables(
    a: facts.SchemaFacts, b: facts.SchemaFacts
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Two schemas as flat tables: "class cat", "feature image/width.type" and the like.

    Comments are left out: the counts of images that they hold are the data's.

    Returns:
      None where the digests say that they are the same.

    Raises:
      DataError: a file is gone or is no schema.
    """
    if a.digest is not None and a.digest == b.digest:
        return None
    from components import schema

    return _table(schema.read(a.uri)), _table(schema.read(b.uri))


def _table(schema: Any) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    from modelstore.raw_example import LABEL

    table: dict[str, Any] = {}
    for feature in schema.feature:
        values = MessageToDict(feature, preserving_proto_field_name=True)
        for left_out in ("name", "annotation"):
            values.pop(left_out, None)
        inline = values.pop("string_domain", {}).get("value", [])
        what = "class" if feature.name == LABEL else f"value of {feature.name}:"
        table |= {f"{what} {v}": True for v in inline}
        table[f"feature {feature.name}"] = True
        table |= {f"feature {feature.name}.{k}": v for k, v in flat(values)}
    for domain in schema.string_domain:
        what = "class" if domain.name == LABEL else f"value of {domain.name}:"
        table |= {f"{what} {v}": True for v in domain.value}
    return table
