"""The command line: what was written becomes options; every failure is a sentence, a next step and an exit code."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest

from runner import cli, conduct
from runner.config import ClusterOptions, RunOptions
from runner.errors import Interrupted, Refusal


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """What the session would have been given."""
    given: list[RunOptions] = []

    def take(options: RunOptions, *_: Any) -> int:
        given.append(options)
        return 7

    monkeypatch.setattr(conduct, "conduct", take)
    return given


@pytest.mark.parametrize(
    ("words", "target", "command"),
    [
        ("api -- npm run dev", "api", ("npm", "run", "dev")),
        ("--target api -- npm run dev", "api", ("npm", "run", "dev")),
        ("--target api npm run dev", "api", ("npm", "run", "dev")),
        ("--target=api npm", "api", ("npm",)),
        ("api npm run dev", "api", ("npm", "run", "dev")),
        ("-t api -- sh", "api", ("sh",)),
        ("-it api sh", "api", ("sh",)),
        ("run api -- sh", "api", ("sh",)),
        ("exec api -- sh", "api", ("sh",)),
        ("run --target api -- sh", "api", ("sh",)),
        ("api", "api", ()),
        ("--target api", "api", ()),
        ("api curl -v -e x", "api", ("curl", "-v", "-e", "x")),
        ("api git log -- file", "api", ("git", "log", "--", "file")),
        ("--target api -- ls -- x", "api", ("ls", "--", "x")),
        ("--target api curl -v -e x", "api", ("curl", "-v", "-e", "x")),
        ("container/ls -- ls", "container/ls", ("ls",)),
        ("api -e A=1 -- env", "api", ("env",)),
        ("-e A=1 api env", "api", ("env",)),
    ],
)
def test_target_and_command(
    asked: list[RunOptions], words: str, target: str, command: tuple[str, ...]
) -> None:
    assert cli.run_words(words.split()) == 7
    assert (asked[0].target, asked[0].command) == (target, command)


def test_options_on_both_sides_of_the_target(asked: list[RunOptions]) -> None:
    words = "-e A=1 -p 80:80 api -e B=2 -v ./x:/y --map-port 3000:80 --ignore-port 9229 --no-tty -u 5 -- env -e C=3"
    cli.run_words(words.split())
    assert asked[0].env == ("A=1", "B=2")
    assert asked[0].publish == ("80:80",)
    assert asked[0].volumes == ("./x:/y",)
    assert asked[0].map_ports == ("3000:80",)
    assert asked[0].ignore_ports == (9229,)
    assert asked[0].tty is False
    assert asked[0].user == "5"
    assert asked[0].command == ("env", "-e", "C=3")


def test_a_bare_t_forces_nothing(asked: list[RunOptions]) -> None:
    cli.run_words(["-t", "api", "--", "sh"])
    cli.run_words(["-i", "--tty", "api", "--", "sh"])
    assert (asked[0].tty, asked[0].interactive) == (None, None)
    assert (asked[1].tty, asked[1].interactive) == (True, True)


@pytest.mark.parametrize(
    ("words", "target", "command"),
    [
        ("-l app=cart -- npm run dev", "", ("npm", "run", "dev")),
        ("-l app=cart npm run dev", "", ("npm", "run", "dev")),
        ("--targetless -n shop -- sh", "", ("sh",)),
        ("--targetless sh -c true", "", ("sh", "-c", "true")),
        ("-n shop deploy/cart/web -c web -- sh", "deploy/cart/web", ("sh",)),
    ],
)
def test_targets_without_a_word(
    asked: list[RunOptions], words: str, target: str, command: tuple[str, ...]
) -> None:
    assert cli.run_words(words.split()) == 7
    assert (asked[0].target, asked[0].command) == (target, command)


def test_options_about_the_cluster(asked: list[RunOptions]) -> None:
    words = (
        "--target-namespace shop --context prod --kubeconfig /k --as ann --as-group dev --as-group ops "
        "--target deploy/x -c web --pod x-1 --agent job --agent-namespace tools --agent-image r/a:1 --agent-ttl 90 "
        "--pod-running-timeout 1m30s --mirror-rate 500kB/s --label a=b --docker-context far -- sh"
    )
    cli.run_words(words.split())
    assert asked[0].cluster == ClusterOptions(
        namespace="shop",
        context="prod",
        kubeconfig="/k",
        as_user="ann",
        as_groups=("dev", "ops"),
        container="web",
        pod="x-1",
        agent="job",
        agent_namespace="tools",
        agent_image="r/a:1",
        agent_ttl=90.0,
        pod_running_timeout=90.0,
        mirror_rate=500_000,
    )
    assert (asked[0].docker_context, asked[0].labels) == ("far", ("a=b",))
    assert asked[0].cluster.named


def test_nothing_about_a_cluster_names_none(asked: list[RunOptions]) -> None:
    cli.run_words(["api", "--", "sh"])
    assert asked[0].cluster == ClusterOptions()
    assert not asked[0].cluster.named


@pytest.mark.parametrize(
    ("words", "agent"), [("--ephemeral-container", "ephemeral"), ("--agent daemonset", "daemonset"), ("", "")]
)
def test_the_kind_of_agent(asked: list[RunOptions], words: str, agent: str) -> None:
    cli.run_words([*words.split(), "deploy/x", "--", "sh"])
    assert asked[0].cluster.agent == agent


@pytest.mark.parametrize(
    "words",
    [
        "--agent job --ephemeral-container deploy/x",
        "--mirror-rate much deploy/x",
        "--agent-ttl soon deploy/x",
        "--nonsense",
        "api --ignore-port x -- sh",
        "--pull sometimes api",
    ],
)
def test_wrong_options_are_125_with_a_next_step(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(words.split()) == 125
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Refusal("what failed", "do this"), 125, "do this"),
        (Refusal("not there", code=127), 127, "not there"),
        (Interrupted(15), 143, ""),
    ],
)
def test_failures(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    said: str,
) -> None:
    def fail(*_: Any) -> int:
        raise error

    monkeypatch.setattr(conduct, "conduct", fail)
    assert cli.run_words(["api", "--", "sh"]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_help_and_version_need_no_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert cli.run_words(["--help"]) == 0
    assert cli.run_words(["run", "--help"]) == 0
    assert cli.run_words(["--version"]) == 0
    assert cli.run_words(["version"]) == 0
    out = capsys.readouterr().out
    assert "TARGET -- COMMAND" in out
    assert out.count("mirror-run 0.1.0") == 2


@pytest.mark.parametrize("words", [["ls"], ["ps"], ["doctor"], ["api", "--", "sh"]])
def test_no_engine_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves its socket that could not connect
        assert cli.run_words(words) == 125
        gc.collect()
    captured = capsys.readouterr()
    assert "no container engine answers at unix:///nowhere/docker.sock" in captured.err + captured.out
