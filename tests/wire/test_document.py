"""docs/protocol.md and docs/files.md are what docs/generate.py makes of their sources today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("maker", ["generate", "files_page"])
def test_the_page_is_not_stale(maker: str) -> None:
    spec = importlib.util.spec_from_file_location(maker, ROOT / "docs" / f"{maker}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page() == made.PAGE.read_text(encoding="utf-8"), "stale: run python3 docs/generate.py"
