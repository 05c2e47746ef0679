"""Figures: how each is kept, judged, printed and written. Knows nothing of how they were measured."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. ``reach`` is what the ratio to ``baseline`` should be: ">= 1", "<= 1.5", or "" when there is
    no such aim.

    ``value`` is the median of ``runs``; ``better`` says whether more or less is, and so which of the runs is
    the best.
    """

    name: str
    unit: str
    runs: tuple[float, ...]
    better: str = "more"
    against: str = ""
    baseline: float | None = None
    reach: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.runs)

    @property
    def best(self) -> float:
        """The best run."""
        return max(self.runs) if self.better == "more" else min(self.runs)

    @property
    def ratio(self) -> float | None:
        """Value by baseline."""
        return self.value / self.baseline if self.baseline else None

    @property
    def reached(self) -> bool | None:
        """Whether the reach is met; None where there is none."""
        if not self.reach or self.ratio is None:
            return None
        sign, limit = self.reach.split(" ")
        return self.ratio >= float(limit) if sign == ">=" else self.ratio <= float(limit)

    def as_json(self) -> dict[str, object]:
        """As build/bench.json has it; ``best`` and ``against`` are there for readers."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "baseline": None if self.baseline is None else round(self.baseline, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "reach": self.reach or None,
            "runs": [round(run, 4) for run in self.runs],
            "best": round(self.best, 4),
            "against": self.against or None,
        }


def lines(figures: list[Figure]) -> list[str]:
    """A table for a terminal (and for docs/benchmarks.md): Markdown, aligned."""
    head = ["what", "median", "best", "unit", "against", "ratio", "reach", ""]
    body = [
        [
            figure.name,
            number(figure.value),
            number(figure.best),
            figure.unit,
            f"{figure.against} {number(figure.baseline)}".strip() if figure.baseline is not None else "",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.reach,
            {True: "reached", False: "MISSED", None: ""}[figure.reached],
        ]
        for figure in figures
    ]
    widths = [max(len(row[at]) for row in [head, *body]) for at in range(len(head))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in [head, rule, *body]
    ]


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(path: Path, figures: list[Figure]) -> None:
    """build/bench.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([figure.as_json() for figure in figures], indent=1) + "\n", encoding="utf-8")


BEGIN, END = "<!-- record: begin -->", "<!-- record: end -->"


def record(page: str, text: str) -> str:
    """The page with what stands between its two marks replaced. ValueError if it has no such marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the record")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
