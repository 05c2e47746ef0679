"""A part of the cluster without a cluster: its namespaces, its programs, its cable, and an end that leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import cgroups, parts
from tests.cluster.processes import Process, arguments, children
from tests.cluster.spec import Mount, Part, Program

pytestmark = pytest.mark.net

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]
LINK = "mrt0"


def until(true: Callable[[], bool], what: str) -> None:
    """Programs of other namespaces tell us nothing: looked at, a minute at most."""
    for _ in range(6000):
        if true():
            return
        signal.sigtimedwait((), 0.01)
    pytest.fail(f"never: {what}")


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Part]:
    """One whose programs wait: `steady`, and `late`, whose condition is a file that the test makes."""
    monkeypatch.setattr(parts, "STATE", tmp_path / "state")
    monkeypatch.setattr(parts, "LOGS", tmp_path / "log")
    name = f"part-{uuid.uuid4().hex[:6]}"
    mounts, trees = parts.cgroup_views(name)
    made = Part(
        name=name,
        links=[LINK],
        mounts=[Mount("tmpfs", "run", "/run"), *mounts],
        files={"/run/greeting": "hello\n"},
        covers={"/proc/sys/kernel/panic": "10\n"},
        commands=[["ip", "address", "add", "198.18.99.2/30", "dev", LINK], ["ip", "link", "set", LINK, "up"]],
        programs=[
            Program("steady", SLEEP),
            Program("late", [*SLEEP, "late"], before=[["test", "-e", str(tmp_path / "now")]]),
        ],
        logs=str(tmp_path / "log"),
        held=str(tmp_path / "state" / name / "held"),
        cgroups=trees,
    )
    yield made
    parts.stop(name)


def start(part: Part) -> Process:
    process = parts.start(part)
    parts.cable(None, part.name, parts.wait_for_init(part.name, process), LINK)
    parts.ip("address", "add", "198.18.99.1/30", "dev", part.name)
    parts.ip("link", "set", part.name, "up")
    return process


def programs(part: Part) -> list[int]:
    """Pids of those that run; conditions that are tried are none of them."""
    first = parts.init_of(part.name)
    return [pid for pid in children(first) if arguments(pid)[:3] == SLEEP] if first else []


def said(part: Part, *command: str) -> str:
    return subprocess.run(
        parts.inside(part.name, *command), capture_output=True, text=True, check=True
    ).stdout


def nothing_is_left(part: Part) -> None:
    assert not any(tree.group(part.name).exists() for tree in cgroups.hierarchies())
    assert not (Path(part.held).parent).exists()
    until(
        lambda: not Path("/sys/class/net", part.name).exists(),
        "the cable goes with the namespace, when the kernel comes to it",
    )


def test_it_is_a_machine_of_its_own(part: Part) -> None:
    start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    assert said(part, "hostname").strip() == part.name
    assert said(part, "cat", "/run/greeting", "/proc/sys/kernel/panic") == "hello\n10\n"
    assert "198.18.99.2/30" in said(part, "ip", "-o", "address", "show", LINK)
    assert said(part, "cat", "/proc/1/cmdline").split("\0")[1:3] == ["-m", "tests.cluster.init"]
    subprocess.run(["ping", "-c1", "-W5", "198.18.99.2"], check=True, stdout=subprocess.DEVNULL)
    for tree in cgroups.hierarchies():
        assert str(programs(part)[0]) in tree.group(part.name).joinpath("cgroup.procs").read_text().split()


def test_a_write_to_what_is_covered_reaches_nobody(part: Part) -> None:
    before = Path("/proc/sys/kernel/panic").read_text()
    start(part)
    until(lambda: bool(programs(part)), "steady runs")
    said(part, "sh", "-c", "echo 77 > /proc/sys/kernel/panic")
    assert said(part, "cat", "/proc/sys/kernel/panic") == "77\n"
    assert Path("/proc/sys/kernel/panic").read_text() == before


def test_what_ends_is_started_again_and_what_is_held_is_not(part: Part) -> None:
    start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    (first,) = programs(part)
    os.kill(first, signal.SIGKILL)
    until(lambda: programs(part) not in ([], [first]), "it was started again")
    held = Path(part.held, "steady")
    held.touch()
    (second,) = programs(part)
    os.kill(second, signal.SIGKILL)
    until(lambda: not programs(part), "it is away")
    log = Path(part.logs, "init.log")
    until(lambda: log.read_text().count("steady ended: -9") == 2, "that was seen")
    assert programs(part) == []
    held.unlink()
    init = parts.init_of(part.name)
    assert init is not None
    os.kill(init, signal.SIGHUP)
    until(lambda: len(programs(part)) == 1, "it is back")


def test_a_program_waits_for_its_condition(part: Part, tmp_path: Path) -> None:
    start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    (tmp_path / "now").touch()
    until(lambda: len(programs(part)) == 2, "late runs too")


def test_orphans_are_collected(part: Part) -> None:
    start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    said(part, "sh", "-c", "(sleep 0.05 &) ; exit 0")
    until(lambda: len(programs(part)) == 1, "what was left to process 1 is no zombie")


def test_stopped_it_is_gone(part: Part) -> None:
    start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    ((program),) = [process for pid in programs(part) if (process := Process.of(pid))]
    parts.stop(part.name)
    assert not program.alive()
    nothing_is_left(part)


@pytest.mark.parametrize("victim", ["unshare", "process 1"])
def test_killed_it_is_gone_and_the_next_stop_clears_up(part: Part, victim: str) -> None:
    outer = start(part)
    until(lambda: len(programs(part)) == 1, "steady runs")
    init = parts.init_of(part.name)
    assert init is not None
    whole = [process for pid in (outer.pid, init, *programs(part)) if (process := Process.of(pid))]
    os.kill(outer.pid if victim == "unshare" else init, signal.SIGKILL)
    assert all(process.wait(20) for process in whole)
    parts.stop(part.name)
    nothing_is_left(part)


def test_a_pid_that_is_somebody_elses_by_now_is_not_signalled(part: Part) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        other = Process.of(stranger.pid)
        assert other is not None
        folder = Path(part.held).parent
        folder.mkdir(parents=True)
        Process(stranger.pid, other.started - 1).save(parts.pid_file(part.name))
        parts.stop(part.name)
        assert other.alive()
        stranger.kill()
