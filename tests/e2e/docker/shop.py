"""A target of many protocols (tests/e2e/image/programs/shop.py), with a health check of its own; and an app like it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from docker.models.containers import Container

from .scene import Run, Scene

PROGRAM = ("python3", "/programs/shop.py")
ALL = ("http", "tls", "grpc", "websocket", "redis", "postgres")
CHECKED_EVERY = 1_000_000_000  # ns


@pytest.fixture(scope="module")
def shop(scene: Scene) -> Iterator[Container]:
    """Whose answers say "target", on every port; healthy by what it answers itself on its loopback."""
    check = 'curl -sS -m 2 http://127.0.0.1:8080/check | grep -q \'"by": "target"\''
    health = {"test": ["CMD-SHELL", check], "interval": CHECKED_EVERY, "retries": 2}
    made = scene.container("shop", [*PROGRAM, "target"], healthcheck=health, cap_add=["NET_ADMIN"])
    scene.wait_inside(made, "nc", "-z", "127.0.0.1", "8765")  # the last that it opens
    yield made
    scene.remove(made)


def app(scene: Scene, target: Container, *options: str, what: tuple[str, ...] = ALL) -> Run:
    """One that answers as "app" in the target's place by now."""
    command = (*PROGRAM, "app", *what)
    run = scene.start(target, *command, options=("--steal", *options), stdin=subprocess.PIPE)
    run.event(listening=None)
    run.said("stealing ")
    return run


def asked(scene: Scene, client: Container, what: str, *users: str) -> list[Any]:
    """By gRPC or WebSocket: each user's answers."""
    said: list[Any] = json.loads(
        scene.inside(client, "python3", "/programs/shop_ask.py", what, "shop", *users)
    )
    return said


def who(scene: Scene, client: Container, url: str, *words: str) -> str:
    """Who answers this request, over a connection of its own."""
    return str(json.loads(scene.inside(client, "curl", "-sSk", "-m", "10", *words, url))["by"])
