"""What the command line says of files: what must be served for it, and what `explain` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import cli
from runner.config import Caller, RunOptions
from runner.errors import Refusal
from runner.files import asked
from runner.files.rules import Whose
from wire.messages import FilesMode


@pytest.mark.parametrize(
    ("options", "served"),
    [
        (RunOptions("x"), FilesMode.READ),
        (RunOptions("x", fs_mode="local"), FilesMode.NONE),
        (RunOptions("x", fs_read_write=("^/srv",)), FilesMode.WRITE),
        (RunOptions("x", fs_mode="read"), FilesMode.READ),
        (RunOptions("x", fs_mode="read", fs_read_write=("^/srv",)), FilesMode.WRITE),
        (RunOptions("x", fs_mode="overrides", fs_read_only=("^/srv",)), FilesMode.READ),
        (RunOptions("x", fs_mode="overrides", fs_read_write=("^/srv",)), FilesMode.WRITE),
        (RunOptions("x", fs_mode="write"), FilesMode.WRITE),
    ],
)
def test_no_more_is_served_than_rules_can_ask_for(options: RunOptions, served: FilesMode) -> None:
    assert asked.served(options) == served


def test_rules_without_files_are_refused() -> None:
    with pytest.raises(Refusal, match="--fs-mode local"):
        asked.served(RunOptions("x", fs_mode="local", fs_local=("x",)))


@pytest.mark.parametrize(
    "options",
    [
        RunOptions("x", fs_mode="read"),
        RunOptions("x", fs_local=("x",)),
        RunOptions("x", fs_mapped=("/a:/b",)),
    ],
)
def test_who_said_something_of_files_is_not_run_without(options: RunOptions) -> None:
    with pytest.raises(Refusal) as refused:
        asked.refused(options, "the engine says no such device: /dev/fuse")
    assert refused.value.what == "no files of the target: the engine says no such device: /dev/fuse"
    assert refused.value.next_step.endswith("leave them out: --fs-mode local")


def test_what_docker_options_change_is_the_containers() -> None:
    """--add-host and --hostname write files that are the target's by default."""
    who = Caller(0, 0, "root", Path("/root"), Path("/nowhere"), "Linux", {})
    plain = asked.rules(RunOptions("x"), who)
    changed = asked.rules(RunOptions("x", add_hosts=("db:198.51.100.7",), hostname="mine"), who)
    for path in ("/etc/hosts", "/etc/hostname"):
        assert plain.decide(path).whose is Whose.READ
        assert changed.decide(path).whose is Whose.LOCAL
    assert changed.decide("/etc/resolv.conf").whose is Whose.READ


def test_who_said_nothing_is_run_without_what_cannot_be_had() -> None:
    assert asked.served(asked.refused(RunOptions("x"), "no")) == FilesMode.NONE


@pytest.mark.parametrize(
    ("sentence", "forbids"),
    [
        (
            'error gathering device information while adding custom device "/dev/fuse": no such file or directory',
            True,
        ),
        ("invalid CapAdd: capability not supported by your kernel: CAP_SYS_ADMIN", True),
        ("Conflict. The container name is in use", False),
    ],
)
def test_what_an_engine_says_that_forbids_files(sentence: str, forbids: bool) -> None:
    assert bool(asked.FORBIDDEN.search(sentence)) == forbids


def test_a_mapping_without_a_colon_is_refused() -> None:
    with pytest.raises(Refusal, match="--map-path '/app'"):
        asked.served(RunOptions("x", fs_mode="read", fs_mapped=("/app",)))


def test_the_project_and_volumes_are_the_app_s_own(tmp_path: Path) -> None:
    (tmp_path / "home" / "shop" / ".git").mkdir(parents=True)
    caller = Caller(1000, 1000, "ada", tmp_path / "home", tmp_path / "home" / "shop", "Linux", {})
    options = RunOptions("x", fs_mode="read", volumes=("./cache:/var/cache-of-app:ro",))
    rules = asked.rules(options, caller, mounts=("/data", str(tmp_path / "home" / "shop" / "certs")))
    said = {
        path: rules.decide(path).whose
        for path in (f"{caller.cwd}/api.txt", f"{caller.cwd}/certs/x", "/var/cache-of-app/x", "/data/x")
    }
    assert list(said.values()) == [Whose.LOCAL, Whose.READ, Whose.LOCAL, Whose.READ]


def test_an_image_of_one_s_own_is_the_project_s() -> None:
    """What tells the service where it runs, and what is mounted in it, are the target's all the same."""
    caller = Caller(1000, 1000, "ada", Path("/home/ada"), Path("/home/ada"), "Linux", {})
    paths = ("/app/settings.yaml", "/etc/hosts", "/data/x", "/srv/x")
    wanted = {
        RunOptions("x"): [Whose.READ, Whose.READ, Whose.READ, Whose.READ],
        RunOptions("x", build="."): [Whose.LOCAL, Whose.READ, Whose.READ, Whose.LOCAL],
        RunOptions("x", image="mine"): [Whose.LOCAL, Whose.READ, Whose.READ, Whose.LOCAL],
        RunOptions("x", image="mine", fs_mode="read"): [Whose.READ, Whose.READ, Whose.READ, Whose.READ],
        RunOptions("x", image="mine", fs_read_only=("^/srv",)): [
            Whose.LOCAL,
            Whose.READ,
            Whose.READ,
            Whose.READ,
        ],
    }
    for options, whose in wanted.items():
        rules = asked.rules(options, caller, ("/data",), "/nonexistent")
        assert [rules.decide(path).whose for path in paths] == whose
        assert rules.decide("/nonexistent/x").whose == Whose.LOCAL


def test_a_root_as_home_takes_nothing_away() -> None:
    caller = Caller(0, 0, "root", Path("/"), Path("/srv"), "Linux", {})
    assert asked.rules(RunOptions("x"), caller).decide("/data/x").whose == Whose.READ


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(["explain", "/etc/hosts", "/srv/x", "--fs-not-found", "^/srv"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: [part.strip() for part in line[1:] if part.strip()] for line in lines}
    assert rows["/etc/hosts"][0] == "the target, read only"
    assert rows["/srv/x"] == ["not found", "your pattern ^/srv"]
