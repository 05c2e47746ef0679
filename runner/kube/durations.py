"""Durations as kubectl writes them: "60s", "1m30s" (Go's time.ParseDuration)."""

from __future__ import annotations

import re

from runner.errors import Refusal

_PARTS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Refusal if it is none."""
    found = list(_PARTS.finditer(text))
    if text == "0":
        return 0.0
    if not found or "".join(one[0] for one in found) != text:
        raise Refusal(f"{text!r} is no duration", "write 60s, 1m30s or the like")
    return sum(float(one[1]) * _UNITS[one[2]] for one in found)
