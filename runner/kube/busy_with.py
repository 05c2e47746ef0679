"""Who is at which target now: what MirrorSessions, agents' Jobs and agents in pods tell of it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from runner.labels import AUTHOR, SESSION, TARGET

Json = dict[str, Any]

_EPHEMERAL = re.compile(r"mirror-run-([0-9a-f]+)-\d+")
"""An agent among a pod's ephemeral containers, with its session."""


def who(sessions: Iterable[Json], agents: Iterable[Json], pods: Iterable[Json]) -> dict[str, list[str]]:
    """Authors by target ("deploy/cart"), one for each session."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in sessions:
        spec = one.get("spec") or {}
        found[spec.get("target", "")][one["metadata"]["name"]] = spec.get("author", "?")
    for job in agents:
        if _over(job):
            continue
        meta = job["metadata"]
        said = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
        session = (meta.get("labels") or {}).get(SESSION, meta["name"])
        found[said.get(TARGET, "")][session] = said.get(AUTHOR, "?")
    for pod in pods:
        for one in (pod.get("status") or {}).get("ephemeralContainerStatuses") or ():
            agent = _EPHEMERAL.fullmatch(one["name"])
            if agent and "running" in (one.get("state") or {}):
                found[f"pod/{pod['metadata']['name']}"][agent[1]] = f"session {agent[1]}"
    return {target: sorted(authors.values()) for target, authors in found.items()}


def _over(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions
    )


def named(authors: Sequence[str]) -> str:
    counted = {author: authors.count(author) for author in authors}
    return ", ".join(author if count == 1 else f"{author} ({count})" for author, count in counted.items())
