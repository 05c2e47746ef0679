"""How a run ends: its exit codes, its signals, its bounds; and that what it made is gone."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from docker.models.containers import Container

from .scene import Left, Scene, wait_left


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_exit_code_is_the_commands(scene: Scene, target: Container, code: int) -> None:
    scene.run(target, "sh", "-c", f"exit {code}", code=code)


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM"])
def test_exit_code_of_a_signal(scene: Scene, target: Container, name: str) -> None:
    scene.run(target, "sh", "-c", f"kill -{name} $$", code=128 + signal.Signals[f"SIG{name}"])


def test_command_not_found(scene: Scene, target: Container) -> None:
    run = scene.start(target, "no-such-command")
    assert run.wait() == 127
    assert "no-such-command" in "".join(run.err.seen)


def test_command_not_executable(scene: Scene, target: Container) -> None:
    assert scene.start(target, "/etc/passwd").wait() == 126


def test_target_missing_names_one_that_is_alike(scene: Scene, target: Container) -> None:
    run = scene.start(f"container/{target.name}x", "true")
    assert run.wait() == 125
    assert str(target.name) in "".join(run.err.seen)


def test_target_stopped(scene: Scene, target: Container) -> None:
    made = scene.container("stopped", ["true"])
    made.wait()
    run = scene.start(made, "true")
    assert run.wait() == 125
    assert "not running" in "".join(run.err.seen)
    scene.remove(made)


def test_target_on_the_hosts_network(scene: Scene, target: Container) -> None:
    made = scene.client.containers.run(
        scene.image, ["sleep", "60"], network_mode="host", detach=True, init=True
    )
    try:
        run = scene.start(made, "true")
        assert run.wait() == 125
        assert "host" in "".join(run.err.seen)
    finally:
        made.remove(force=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_go_to_the_app(scene: Scene, target: Container, number: signal.Signals) -> None:
    """The app's trap runs and its exit code is the run's."""
    name = number.name.removeprefix("SIG")
    run = scene.start(
        target, "sh", "-c", f"trap 'echo got {name}; exit 7' {name}; echo up; while :; do sleep 0.1; done"
    )
    run.out.wait(lambda line: "up" in line, "the app's first line")
    assert run.end(number) == 7
    assert f"got {name}\n" in run.out.seen


def test_an_app_that_ignores_everything_ends_with_the_second_sigint(scene: Scene, target: Container) -> None:
    run = scene.start(target, "sh", "-c", "trap '' INT TERM HUP; echo up; while :; do sleep 0.1; done")
    run.out.wait(lambda line: "up" in line, "the app's first line")
    run.process.send_signal(signal.SIGINT)
    run.said("again")
    run.process.send_signal(signal.SIGINT)
    assert run.wait() != 0


def fds(path: Path) -> int:
    return len(list(path.glob("fd/*")))


def test_twenty_sessions_leave_the_engine_as_it_was(scene: Scene, target: Container) -> None:
    scene.run(target, "true")
    before = replace(Left.of(scene), containers=frozenset(), processes=frozenset())
    inside = target.attrs["State"]["Pid"]
    engine = [p for p in Path("/proc").glob("[0-9]*") if (p / "comm").read_text().strip() == "dockerd"]
    opened = [fds(p) for p in engine]
    rules = scene.inside(target, "sh", "-c", "nft -s list ruleset 2>/dev/null")
    for _ in range(20):
        scene.run(target, "true")
    after = wait_left(scene, before)
    assert not after.containers | after.processes
    assert after.volumes <= before.volumes
    assert after.networks <= before.networks
    assert scene.inside(target, "sh", "-c", "nft -s list ruleset 2>/dev/null") == rules
    assert inside == target.attrs["State"]["Pid"]
    for path, count in zip(engine, opened, strict=True):
        assert fds(path) <= count + 10, "the engine holds ever more descriptors"
