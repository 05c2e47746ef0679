"""Two sessions on one port of one engine's target: every pair of mirror, choice, filter and whole port."""

from __future__ import annotations

import itertools
import json
import subprocess

from docker.models.containers import Container

from tests.e2e import beside
from tests.e2e.beside import MIRRORS, USERS, WITH_CHOICES, Cell

from .scene import Run, Scene

NUMBERS = itertools.count()


def begin(scene: Scene, target: Container, mode: str, which: str) -> Run:
    run = scene.start(
        target, *beside.command(mode, which), options=beside.options(mode, which), stdin=subprocess.PIPE
    )
    run.event(listening=None)
    return run


def stands(run: Run, mode: str) -> None:
    run.said(": mirroring 8080" if mode in MIRRORS else ": stealing 8080")


def asked(scene: Scene, client: Container, target: Container, user: str) -> tuple[str, str]:
    """Who answered, and the request's path, which no other has."""
    path = f"/n/{next(NUMBERS)}"
    url = f"http://{scene.address(target)}:8080{path}"
    said = json.loads(scene.inside(client, "curl", "-sS", "-m", "10", "-H", f"x-user: {user}", url))
    assert said["path"] == path
    return said["by"], path


def test_every_pair(scene: Scene, bystander: Container) -> None:
    """Four first sessions, each with a target of its own, and sixteen that come after them."""
    server = ["python3", "/programs/shop.py", "target", "http"]
    targets = {mode: scene.container(f"beside-{mode}", server) for mode in WITH_CHOICES}
    for made in targets.values():
        scene.wait_inside(made, "nc", "-z", "127.0.0.1", "8080")
    firsts = {mode: begin(scene, target, mode, "first") for mode, target in targets.items()}
    for mode, run in firsts.items():
        stands(run, mode)
    copied: dict[str, set[str]] = {mode: set() for mode in targets}
    for mode, target in targets.items():
        for second in WITH_CHOICES:
            copied[mode] |= pair(scene, bystander, target, Cell(mode, second, together=True), firsts[mode])
    scene.close_runs()
    for target in targets.values():
        scene.remove(target)
    assert {mode: requests(run) for mode, run in firsts.items()} == copied


def pair(scene: Scene, client: Container, target: Container, cell: Cell, first: Run) -> set[str]:
    """One comes beside the first, is asked with it, and goes again. What the first one must have had a copy of."""
    second = begin(scene, target, cell.second, "second")
    if cell.refused:
        how = "whole" if cell.first == "whole" else "by a filter"
        line = second.said(f"port 8080 of beside-{cell.first} is stolen {how} by ")
        assert "--http-header" in line, cell
    else:
        stands(second, cell.second)
    paths = {}
    for user in USERS:
        by, paths[user] = asked(scene, client, target, user)
        assert by == cell.answers(user), (cell, user)
    seen: dict[str, set[str]] = {"first": set(), "second": set()}
    for which, user in cell.copies():
        {"first": first, "second": second}[which].event(request=f"GET {paths[user]} HTTP/1.1")
        seen[which].add(paths[user])
    second.end()
    scene.runs.remove(second)
    assert requests(second) == seen["second"], cell
    by, path = asked(scene, client, target, "ada")
    assert by == ("target" if cell.first in MIRRORS else "first"), cell
    return seen["first"] | ({path} if cell.first in MIRRORS else set())


def requests(run: Run) -> set[str]:
    """Paths of which it was given a copy; each once."""
    told = [json.loads(line)["request"].split()[1] for line in run.out.seen if '"request"' in line]
    assert len(told) == len(set(told)), told
    return set(told)
