"""Stealing from a container: the app answers the target's clients, nobody notices more, each end gives all back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from docker.models.containers import Container

from .load import Load
from .scene import MIRROR_RUN, Scene
from .stealing import APP, Held, as_before, ask, matched, network, stolen, tell, until


@pytest.fixture(autouse=True)
def unchanged(scene: Scene, target: Container) -> Iterator[None]:
    """Before and after each test the target's network is the same."""
    before = network(scene, target)
    yield
    scene.close_runs()
    as_before(scene, target, before)


def test_a_port_stolen_whole(scene: Scene, target: Container, bystander: Container) -> None:
    """And the target's own checks go on as before."""
    assert ask(scene, bystander)["by"] == "target"
    run = stolen(scene, target)
    for family in (4, 6):
        own = scene.address(target, family)
        answer = ask(scene, bystander, own if family == 4 else f"[{own}]")
        peer = answer["peer"][0].removeprefix("::ffff:")
        assert (answer["by"], peer) == ("app", scene.address(bystander, family))
        assert answer["own"].removeprefix("::ffff:") == own
    assert ask(scene, target, "127.0.0.1")["by"] == "target"
    assert run.end() == 143
    assert ask(scene, bystander)["by"] == "target"
    assert any("stolen" in line for line in run.err.seen[-8:]), run.err.seen[-8:]


def test_begins_and_ends_under_load(scene: Scene, target: Container, bystander: Container) -> None:
    with Load(bystander) as load:
        run = stolen(scene, target)
        until(scene, bystander, "app")
        run.end()
        until(scene, bystander, "target")
    assert load.failed == []
    assert min(load.by["app"], load.by["target"]) > 5


def test_an_app_that_stops_listening_and_begins_again(
    scene: Scene, target: Container, bystander: Container
) -> None:
    run = stolen(scene, target)
    until(scene, bystander, "app")
    tell(run, "close")
    run.said("no longer stealing")
    until(scene, bystander, "target")
    tell(run, "open")
    run.said("stealing 8080")
    until(scene, bystander, "app")


def test_two_sessions_and_one_port(scene: Scene, target: Container, bystander: Container) -> None:
    """The second is told who holds it, and has it when the first lets go."""
    first = stolen(scene, target)
    second = scene.start(target, "python3", "-c", APP, "ben", options=("--steal",), stdin=subprocess.PIPE)
    line = second.said("is stolen whole by")
    assert "since" in line
    assert "--http-header" in line
    first.end()
    second.said("stealing 8080")
    until(scene, bystander, "app")


def test_by_filter_request_by_request(scene: Scene, target: Container, bystander: Container) -> None:
    """Matches and others alternate on one kept connection; the others' answers are the target's own."""
    run = stolen(scene, target, "--http-header", "^X-User: ada$", "--http-path", "^/", "--http-method", "get")
    assert matched(scene, bystander, "ada")["by"] == "app"
    words: list[str] = []
    for user in ("ada", "ben", "ada", "eve", "ada"):
        words += ["-H", f"x-user: {user}", "http://target:8080/", "--next"]
    said = scene.inside(bystander, "curl", "-sS", "--max-time", "10", *words[:-1]).splitlines()
    assert ["target" if line == "the target answers" else "app" for line in said] == [
        "app", "target", "app", "target", "app",
    ]  # fmt: skip
    words = ["-H", "x-user: ada", "-d", "x", "-o", "/dev/null", "-w", "%{http_code}", "http://target:8080/"]
    assert scene.inside(bystander, "curl", "-sS", *words) == "405"  # nginx's; the app would say 501
    run.end()
    assert [line for line in run.err.seen if "4 of 7 requests to 8080 matched" in line], run.err.seen[-6:]


def test_a_filter_that_matches_nothing_says_so(scene: Scene, target: Container, bystander: Container) -> None:
    run = stolen(scene, target, "--http-header", "^x-nobody: .")
    for _ in range(3):
        assert ask(scene, bystander)["by"] == "target"
    run.end()
    said = "none of 3 requests to 8080 matched; the last was GET / HTTP/1.1"
    assert [line for line in run.err.seen if said in line], run.err.seen[-6:]


def test_filters_of_two_sessions(scene: Scene, target: Container, bystander: Container) -> None:
    """Asked in order of age."""
    first = stolen(scene, target, "--http-header", "^x-user: ada$")
    stolen(scene, target, "--http-header", "^x-user: (ada|ben)$", name="ben")
    assert matched(scene, bystander, "ada")["name"] == "ada"
    assert matched(scene, bystander, "ben")["name"] == "ben"
    assert matched(scene, bystander, "eve")["by"] == "target"
    first.end()
    assert matched(scene, bystander, "ada")["name"] == "ben"


def test_what_cannot_be_a_filter_is_refused_before_anything_starts(scene: Scene, target: Container) -> None:
    run = scene.start(target, "true", options=("--steal", "--http-path", "/a(?=b)"))
    assert run.wait() == 125
    assert "looks around" in "".join(run.err.seen)


def test_a_mirror_beside_a_filter(scene: Scene, target: Container, bystander: Container) -> None:
    """It sees what still reaches the target, each request once."""
    stolen(scene, target, "--http-header", "^x-user: ada$")
    copies = scene.record(target, "8080", flags=("--http",))
    for number, user in enumerate(("ada", "ben", "ada", "eve", "ben")):
        words = ("-H", f"x-user: {user}", f"http://target:8080/?n={number}")
        scene.inside(bystander, "curl", "-sS", "--max-time", "10", *words)
    for number in (1, 3, 4):
        seen = copies.event(request=f"GET /?n={number} HTTP/1.1")
        assert seen["peer"][0] in scene.addresses(bystander)
    copies.end()
    lines = [line for line in copies.out.seen if '"request"' in line]
    assert len(lines) == 3, lines


# A request that is begun at once and ended by a line on stdin; its answer's last line.
SLOW = """
import socket, sys
c = socket.create_connection(("target", 8080), 30)
c.sendall(b"GET / HTTP/1.1\\r\\nHost: target\\r\\n")
for line in sys.stdin:
    if line == "end\\n": c.sendall(b"Connection: close\\r\\n\\r\\n")
    print(c.makefile().readlines()[-1] if line == "end\\n" else "begun\\n", end="", flush=True)
"""


def test_who_drains_is_listed_and_others_begin(scene: Scene, target: Container, bystander: Container) -> None:
    """A client of the target's in the midst of a request outlives the session; `ps` says whose that was."""
    run = stolen(scene, target, "--http-header", "^x-user: ada$")
    with Held(bystander, SLOW) as held:
        assert held.ask() == "begun\n"
        assert matched(scene, bystander, "ada")["by"] == "app"
        assert "drains" not in listed()
        run.end()
        line = next(
            line for line in listed().splitlines() if line.startswith("mirror-run: target, stolen by ")
        )
        assert "drains: connections that its clients began then" in line
        again = stolen(scene, target, "--http-header", "^x-user: ada$", name="ben")
        assert matched(scene, bystander, "ada")["name"] == "ben"
        assert held.ask("end") == "the target answers\n"
        again.end()


def listed() -> str:
    done = subprocess.run([str(MIRROR_RUN), "ps"], capture_output=True, text=True, check=True)
    return done.stderr + done.stdout
