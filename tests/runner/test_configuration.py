"""The configuration file: what it says are defaults, what it cannot mean is refused with a next step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner import cli, conduct, configuration
from runner.config import RunOptions
from runner.errors import Refusal


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunOptions]:
    """What the session would have been given; the working directory is an empty one."""
    given: list[RunOptions] = []
    monkeypatch.setattr(conduct, "conduct", lambda options, *_: given.append(options) or 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    return given


def written(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


YAML = """
target: deploy/cart
namespace: shop
env: {COLOUR: blue, TIMES: 3, DEBUG: true, PASSED_ON: null}
publish: ["9000:80"]
map-port: 3000:80
ignore-port: [9229]
agent-label: {team: web}
no-tty: true
pod-running-timeout: 2m
"""
TOML = 'target = "deploy/cart"\nnamespace = "shop"\n[env]\nCOLOUR = "blue"\n'
JSON = '{"target": "deploy/cart", "namespace": "shop", "env": ["COLOUR=blue"]}'


def test_each_kind_of_option(asked: list[RunOptions], capsys: pytest.CaptureFixture[str]) -> None:
    path = written(".mirror-run.yaml", YAML)
    assert cli.run_words(["--", "npm", "start"]) == 0
    assert f"with the options of {path.absolute()}" in capsys.readouterr().err
    (one,) = asked
    assert (one.target, one.cluster.namespace, one.command) == ("deploy/cart", "shop", ("npm", "start"))
    assert one.env == ("COLOUR=blue", "TIMES=3", "DEBUG=true", "PASSED_ON")
    assert (one.publish, one.map_ports, one.ignore_ports) == (("9000:80",), ("3000:80",), (9229,))
    assert one.cluster.agent_labels == ("team=web",)
    assert one.tty is False
    assert one.cluster.pod_running_timeout == 120


@pytest.mark.parametrize(("name", "text"), [("x.toml", TOML), ("x.json", JSON), ("deep/x.yaml", YAML)])
def test_a_named_file(asked: list[RunOptions], name: str, text: str) -> None:
    written(".mirror-run.yaml", "target: deploy/other\n")
    assert cli.run_words(["--config-file", str(written(name, text)), "--", "true"]) == 0
    assert asked[0].target == "deploy/cart"
    assert asked[0].env[0] == "COLOUR=blue"


def test_a_named_file_by_environment(asked: list[RunOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_RUN_CONFIG_FILE", str(written("x.json", JSON)))
    assert cli.run_words(["--", "true"]) == 0
    assert asked[0].target == "deploy/cart"


def test_the_command_line_wins(asked: list[RunOptions]) -> None:
    written(".mirror-run.yaml", YAML)
    assert cli.run_words(["--target", "deploy/other", "-n", "test", "-e", "A=1", "--tty", "--", "true"]) == 0
    (one,) = asked
    assert (one.target, one.cluster.namespace, one.env, one.tty) == ("deploy/other", "test", ("A=1",), True)


@pytest.mark.parametrize("words", [["npm", "start"], ["-e", "A=1", "npm", "start"], ["run", "npm", "start"]])
def test_with_a_target_in_the_file_the_words_are_the_command(
    asked: list[RunOptions], words: list[str]
) -> None:
    written(".mirror-run.yaml", "target: deploy/cart\n")
    assert cli.run_words(words) == 0
    assert (asked[0].target, asked[0].command) == ("deploy/cart", ("npm", "start"))


def test_without_a_target_in_the_file_the_first_word_is_it(asked: list[RunOptions]) -> None:
    written(".mirror-run.yaml", "namespace: shop\n")
    assert cli.run_words(["deploy/cart", "npm", "start"]) == 0
    assert (asked[0].target, asked[0].command) == ("deploy/cart", ("npm", "start"))


@pytest.mark.parametrize(
    ("text", "says", "next_step"),
    [
        ("targt: x", "'targt' is no option", "did you mean 'target'?"),
        ("command: [npm]", "'command' is no option", "mirror-run run --help"),
        ("config-file: x", "'config-file' is no option", ""),
        ("- target", "no mapping of options", "target: deploy/cart"),
        ("1: x", "no mapping of options", ""),
        ("target: [a, b]", "target has ['a', 'b']", "as on the command line"),
        ("env: [[a]]", "env has ['a']", "as on the command line"),
        ("quiet: loud", "quiet is 'loud'", "true or false"),
        ("namespace: a\ntarget-namespace: b", "'target-namespace' is said twice", "keep one"),
        ("target: {", "cannot be read", "mend it"),
    ],
)
def test_what_no_option_can_mean(tmp_path: Path, text: str, says: str, next_step: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(Refusal) as refused:
        configuration.read(path, cli.run.params)
    assert says in refused.value.what
    assert next_step in (refused.value.next_step or "")
    assert str(path) in refused.value.what


def test_a_value_that_an_option_refuses(asked: list[RunOptions], capsys: pytest.CaptureFixture[str]) -> None:
    written(".mirror-run.yaml", "target: x\nignore-port: 70000\n")
    assert cli.run_words(["--", "true"]) == 125
    assert not asked
    assert "70000" in capsys.readouterr().err


def test_a_file_that_is_not_there(asked: list[RunOptions], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(["--config-file", "none.yaml", "x", "--", "true"]) == 125
    assert "none.yaml: No such file or directory" in capsys.readouterr().err


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tree = home / "project"
    below = tree / "src" / "deep"
    below.mkdir(parents=True)
    assert configuration.find(below, home) is None
    (home / ".mirror-run.yaml").touch()
    assert configuration.find(below, home) is None  # no work tree: only the directory itself
    (tree / ".git").mkdir()
    assert configuration.find(below, home) is None  # not above the work tree
    (tree / ".mirror-run.toml").touch()
    assert configuration.find(below, home) == tree / ".mirror-run.toml"
    (below / ".mirror-run.json").touch()
    assert configuration.find(below, home) == below / ".mirror-run.json"


def test_every_option_may_be_written(tmp_path: Path) -> None:
    """A value of the right shape passes for each option there is: none is of a kind that a file cannot say."""
    for parameter in cli.run.params:
        if parameter.name in ("command", "config_file"):
            continue
        assert isinstance(parameter, cli.click.Option)
        name = next(one for one in parameter.opts if one.startswith("--") or len(parameter.opts) == 1)
        if not name.startswith("--"):
            continue  # -t, which asks for nothing
        flag = parameter.is_flag or bool(parameter.secondary_opts)
        value: Any = "true" if flag else "x"
        path = tmp_path / "one.yaml"
        path.write_text(f"{name.removeprefix('--')}: {value}\n")
        assert parameter.name in configuration.read(path, cli.run.params).values


def test_filters_are_written_as_they_are_meant(asked: list[RunOptions]) -> None:
    written(
        ".mirror-run.yaml",
        """
target: deploy/cart
steal: true
http-filter:
  - {header: "^x-user: anna$", path: ^/api}
  - method: POST
""",
    )
    assert cli.run_words(["--", "true"]) == 0
    assert asked[0].http_filters == ('{"header": "^x-user: anna$", "path": "^/api"}', '{"method": "POST"}')
