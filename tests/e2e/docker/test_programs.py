"""Whatever the app is, its packets are carried: interpreters, a JVM, static executables, shell pipelines."""

from __future__ import annotations

import subprocess

import pytest
from docker.models.containers import Container

from .scene import MIRROR_RUN, Scene

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


def test_a_gibibyte_through_stdin_and_back(scene: Scene, target: Container) -> None:
    """cat as the app: what goes in comes out, to the octet, and EOF ends it."""
    script = (
        "import sys; sys.path.insert(0, 'tests/e2e/image/programs'); import server_pattern\n"
        "for piece in server_pattern.pattern(1 << 30): sys.stdout.buffer.write(piece)"
    )
    made = subprocess.Popen(["python3", "-c", script], stdout=subprocess.PIPE)
    want = subprocess.run(
        ["sh", "-c", f'python3 -c "{script}" | sha256sum'], capture_output=True, text=True, check=True
    )
    app = subprocess.Popen(
        [str(MIRROR_RUN), "--target", f"container/{target.name}", "-q", "--", "cat"],
        stdin=made.stdout,
        stdout=subprocess.PIPE,
    )
    assert made.stdout is not None
    assert app.stdout is not None
    with made.stdout, app.stdout:
        got = subprocess.run(["sha256sum"], stdin=app.stdout, capture_output=True, text=True, check=True)
    assert app.wait(60) == 0
    assert made.wait(10) == 0
    assert got.stdout == want.stdout
