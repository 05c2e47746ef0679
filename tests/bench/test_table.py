"""How figures are judged: the direction of a reach, medians and bests, and what the file holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.table import BEGIN, END, Figure, lines, record, write


@pytest.mark.parametrize(
    ("runs", "baseline", "reach", "reached"),
    [
        ((2.0,), 2.0, ">= 1", True),
        ((1.9,), 2.0, ">= 1", False),
        ((3.0,), 2.0, "<= 1.5", True),
        ((3.1,), 2.0, "<= 1.5", False),
        ((1.0, 9.0, 2.0), 2.0, ">= 1", True),  # the median decides, not the best
        ((1.0, 9.0, 1.5), 2.0, ">= 1", False),
        ((2.0,), None, ">= 1", None),
        ((2.0,), 2.0, "", None),
    ],
)
def test_a_reach_is_judged_by_the_median(
    runs: tuple[float, ...], baseline: float | None, reach: str, reached: bool | None
) -> None:
    assert Figure("x", "s", runs, baseline=baseline, reach=reach).reached is reached


def test_the_best_is_the_least_where_less_is_better() -> None:
    assert Figure("x", "s", (3.0, 1.0, 2.0), "less").best == 1.0
    assert Figure("x", "1/s", (3.0, 1.0, 2.0)).best == 3.0


def test_the_file_holds_what_is_asked_of_it(tmp_path: Path) -> None:
    figures = [
        Figure("up: peer", "Gbit/s", (4.0, 2.0)),
        Figure("up: ours", "Gbit/s", (6.0,), "more", "peer", 3.0, ">= 1"),
    ]
    write(tmp_path / "build" / "bench.json", figures)
    written = json.loads((tmp_path / "build" / "bench.json").read_text(encoding="utf-8"))
    assert written[1] == {
        "name": "up: ours", "value": 6.0, "unit": "Gbit/s", "baseline": 3.0, "ratio": 2.0, "reach": ">= 1",
        "runs": [6.0], "best": 6.0, "against": "peer",
    }  # fmt: skip
    assert written[0]["baseline"] is None
    assert written[0]["runs"] == [4.0, 2.0]


def test_the_table_names_what_was_missed() -> None:
    text = "\n".join(lines([Figure("up", "Gbit/s", (1.0,), "more", "peer", 2.0, ">= 1")]))
    assert "MISSED" in text
    assert "peer 2" in text


def test_a_record_replaces_the_one_before_and_nothing_else() -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    again = record(record(page, "new\n"), "newer")
    assert again == f"above\n{BEGIN}\n\nnewer\n\n{END}\nbelow\n"
    with pytest.raises(ValueError, match="no place"):
        record("a page", "text")
