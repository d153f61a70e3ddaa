"""What Kubernetes takes for a name, a label or an amount, and what the amounts are worth."""

from __future__ import annotations

import re
from decimal import Decimal

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PART = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_QUANTITY = re.compile(
    r"(?P<number>[+-]?([0-9]{1,15}(\.[0-9]{0,9})?|\.[0-9]{1,9}))"
    r"(?P<unit>[EPTGMK]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def is_label_name(text: str) -> bool:
    """Returns whether it is one part of a host name (RFC 1123): services, namespaces, volumes."""
    return len(text) <= 63 and re.fullmatch(_LABEL, text) is not None


def is_subdomain(text: str) -> bool:
    """Returns whether it is a name with dots or without (RFC 1123): claims, secrets, accounts."""
    return len(text) <= 253 and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) is not None


def is_label_value(text: str) -> bool:
    return text == "" or (len(text) <= 63 and re.fullmatch(_PART, text) is not None)


def is_qualified_key(text: str) -> bool:
    """Returns whether it is a key of labels: NAME, or PREFIX/NAME with a domain as the prefix."""
    prefix, slash, name = text.rpartition("/")
    named = len(name) <= 63 and re.fullmatch(_PART, name) is not None
    return named and (is_subdomain(prefix) if slash else True)


def quantity(text: str) -> Decimal | None:
    """Returns the worth of "500m", "2Gi", "1e9" or "1.5" in units; None for what is no amount.

    The grammar is that of apimachinery's resource.Quantity: the binary Ki, Mi, …, the decimal
    n, u, m, k, M, …, or an exponent, each as it is written there.  1ki, 1K and 1 Gi are no
    amounts.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, unit = Decimal(match["number"]), match["unit"] or ""
    if unit.endswith("i"):
        return number * Decimal(1024) ** ("KMGTPE".index(unit[0]) + 1)
    power = int(unit[1:]) if unit[:1] in ("e", "E") and len(unit) > 1 else _DECIMAL[unit]
    return number.scaleb(power)
