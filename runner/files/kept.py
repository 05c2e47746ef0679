"""The table of a run's patterns, made once and kept on this machine: it is the same for every run with the same wishes,
and takes as long to make as a container to start.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from runner import cache
from runner.files.rules import Rules

TABLES = 8
"""That are kept: of as many projects' wishes."""


def table(rules: Rules, folder: Path) -> bytes:
    """``rules.table``, packed. Refusal as of it. Takes 0.2 s where ``folder`` has none yet."""
    asked = hashlib.sha256(_maker())
    asked.update("\n".join(pattern for pattern, _ in rules.patterns).encode(errors="surrogateescape"))
    kept = folder / f"rules-{asked.hexdigest()[:24]}"
    try:
        return kept.read_bytes()
    except OSError:
        made = rules.table.packed()
        cache.keep(kept, made, "rules-*", TABLES)
        return made


def _maker() -> bytes:
    """What makes tables, so that one that was mended makes new ones."""
    return b"".join(Path(__file__).with_name(name).read_bytes() for name in ("dfa.py", "nfa.py"))
