"""Durations as kubectl writes them."""

from __future__ import annotations

import pytest

from runner.errors import Refusal
from runner.kube.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60s", 60),
        ("1m30s", 90),
        ("1.5m", 90),
        ("500ms", 0.5),
        ("2h", 7200),
        ("0", 0),
        ("0s", 0),
        ("1h1m1s", 3661),
    ],
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "60", "s", "1m 30s", "-5s", "1d", "60s!"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        seconds(text)
    assert "1m30s" in refused.value.next_step
