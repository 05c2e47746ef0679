"""The table of patterns is made once for the same wishes, and anew for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import Refusal
from runner.files import kept
from runner.files.rules import Mode, Rules, Wishes


def test_made_once_and_kept(tmp_path: Path) -> None:
    rules = Rules(Mode.OVERRIDES, Wishes(local=("^/srv",)))
    made = kept.table(rules, tmp_path)
    assert made == rules.table.packed()
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"as kept")
    assert (
        kept.table(Rules(Mode.OVERRIDES, Wishes(local=("^/srv",)), home="/home/ada"), tmp_path) == b"as kept"
    )


def test_others_are_others_and_few_stay(tmp_path: Path) -> None:
    made = {
        kept.table(Rules(Mode.OVERRIDES, Wishes(local=(f"^/{n}",))), tmp_path) for n in range(kept.TABLES + 3)
    }
    assert len(made) == kept.TABLES + 3
    assert len(list(tmp_path.iterdir())) == kept.TABLES


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    rules = Rules(Mode.OVERRIDES, Wishes(local=("^/srv",)))
    assert kept.table(rules, tmp_path / "file" / "cache") == rules.table.packed()


def test_what_is_no_pattern_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"the pattern"):
        kept.table(Rules(Mode.OVERRIDES, Wishes(local=("(",))), tmp_path)
    assert not list(tmp_path.iterdir())


def test_in_the_rules_it_stands_where_it_would(tmp_path: Path) -> None:
    rules = Rules(Mode.OVERRIDES, Wishes(local=("^/srv",)))
    assert rules.packed(kept.table(rules, tmp_path)) == rules.packed()
