"""Quantities as Kubernetes writes them ("250m", "1Gi", "1e3"), and what a resourceFieldRef makes of one."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_SUFFIX = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(10) ** (3 * power) for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_MILLI = Decimal("1e-3")


def parsed(text: str) -> Decimal:
    """Its value (apimachinery, resource.ParseQuantity). ValueError if it is none."""
    found = _QUANTITY.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(found[1] + (found[2] or "")) * _SUFFIX[found[3] or ""]


def divided(value: str, divisor: str, *, cpu: bool) -> str:
    """What the variable of a resourceFieldRef says: in units of the divisor, rounded up. CPU is counted in
    thousandths, all else in wholes, before it is divided (kubelet, ExtractContainerResourceValue)."""
    grain = _MILLI if cpu else Decimal(1)
    amount, unit = (
        math.ceil(parsed(one) / grain) for one in (value, divisor if divisor not in ("", "0") else "1")
    )
    return str(-(-amount // unit))
