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
        (RunOptions("x"), FilesMode.NONE),
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
        asked.served(RunOptions("x", fs_local=("x",)))


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


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(["explain", "/etc/hosts", "/srv/x", "--fs-not-found", "^/srv", "--fs-mode", "read"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: [part.strip() for part in line[1:] if part.strip()] for line in lines}
    assert rows["/etc/hosts"][0] == "the target, read only"
    assert rows["/srv/x"] == ["not found", "your pattern ^/srv"]
