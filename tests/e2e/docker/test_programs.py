"""Whatever the app is, its packets are carried: interpreters, a JVM, static executables, shell pipelines."""

from __future__ import annotations

import pytest
from docker.models.containers import Container

from .scene import Scene

URL = "http://peer:8080/"


@pytest.mark.parametrize(
    "command",
    [
        ["python3", "/programs/fetch.py", URL],
        ["node", "/programs/fetch.js", URL],
        ["java", "-cp", "/programs", "Fetch", URL],
        ["/programs/fetch-go", URL],
        ["/programs/fetch-musl", "peer", "8080", "/"],
        ["/programs/fetch-glibc", "peer", "8080", "/"],
        ["curl", "-sS", URL],
        ["sh", "-c", f"wget -qO- {URL} | cat | tr a-z a-z"],
    ],
    ids=["python", "node", "java", "go-static", "musl-static", "glibc", "curl", "pipeline"],
)
def test_the_peer_sees_the_target(scene: Scene, target: Container, command: list[str]) -> None:
    """The body is the address that the server saw: the target's."""
    assert scene.run(target, *command).split()[-1] in scene.addresses(target)
