"""docs/security.md names tests as proof: each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`((?:test|fuzz)_\w+)(?:\.py)?`", (ROOT / "docs" / "security.md").read_text()))
    assert len(named) > 20
    files = [path for path in (ROOT / "tests").rglob("*") if path.suffix in (".py", ".c")]
    there = {path.stem for path in files}
    for path in files:
        if path.suffix == ".py":
            there |= set(re.findall(r"def (test_\w+)", path.read_text()))
    assert named <= there, f"not there: {', '.join(sorted(named - there))}"
