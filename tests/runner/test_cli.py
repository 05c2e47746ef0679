"""The command line: what was written becomes options; every failure is a sentence, a next step and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from runner import cli, conduct
from runner.config import ClusterOptions, RunOptions
from runner.errors import Interrupted, Refusal

from .engine_stage import Asked, on_unix, sdks_sockets

__all__ = ["sdks_sockets"]

pytestmark = pytest.mark.usefixtures("sdks_sockets")


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
    assert cli.run_words(words) == 125
    captured = capsys.readouterr()
    assert "no container engine answers at unix:///nowhere/docker.sock" in captured.err + captured.out


# --- what is asked of an engine, and how it is answered -----------------------------------------------------------

CONTAINERS = [
    {
        "Id": "a" * 64,
        "Names": ["/cart"],
        "Image": "sha256:0123456789abcdef",
        "State": "running",
        "Created": 0,
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "Labels": {},
    },
    {
        "Id": "b" * 64,
        "Names": ["/mirror-run-k3f-app"],
        "Image": "cart:1",
        "State": "running",
        "Created": 0,
        "Labels": {
            "mirror-run.dev/session": "k3f",
            "mirror-run.dev/role": "app",
            "mirror-run.dev/target": "container/cart",
        },
    },
]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One with a container and a session; every request to it."""

    def play(asked: Asked) -> None:
        lines.append(asked.line)
        wanted = json.loads(parse_qs(asked.line.split()[1].partition("?")[2]).get("filters", ["{}"])[0])
        label = wanted.get("label", [""])[0]
        there = [one for one in CONTAINERS if not label or label in one["Labels"]]  # type: ignore[operator]
        said = there if "/containers/json" in asked.line else {"ApiVersion": "1.41"}
        asked.answer(json.dumps(said).encode())

    lines: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with on_unix(tmp_path / "engine.sock", play):
        yield lines


@pytest.mark.usefixtures("engine")
def test_tables_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert cli.run_words(list(words)) == 0
        return capsys.readouterr().out

    assert said("ls").splitlines()[1].split() == ["container/cart", "running", "0123456789ab", "80/tcp"]
    assert said("ls", "-q") == "container/cart\n"
    assert json.loads(said("ls", "-o", "json")) == [
        {"target": "container/cart", "state": "running", "image": "0123456789ab", "ports": "80/tcp"}
    ]
    assert said("ps", "-q") == "k3f\n"
    (session,) = json.loads(said("ps", "--output", "json"))
    assert (session["session"], session["target"], session["state"]) == ("k3f", "container/cart", "running")
    assert json.loads(said("explain", "-o", "json", "/etc/hosts"))[0].keys() == {"path", "where", "why"}


def test_sessions_are_stopped_by_their_beginnings(
    engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_words(["stop", "k", "k3f"]) == 0
    assert capsys.readouterr().err == "mirror-run: session k3f is over\n"
    did = [line.split("?")[0] for line in engine if not line.startswith("GET")]
    assert did == [f"{what}{'b' * 64}{end}" for what, end in (
        ("POST /v1.41/containers/", "/kill"), ("POST /v1.41/containers/", "/wait"), ("DELETE /v1.41/containers/", "")
    )]  # fmt: skip


def test_nothing_is_stopped_if_one_is_not_there(
    engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_words(["stop", "k3f", "other"]) == 125
    assert "there is no session other" in capsys.readouterr().err
    assert all(line.startswith("GET") for line in engine)


@pytest.mark.usefixtures("engine")
def test_a_mistyped_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(["docter"]) == 125
    assert "is `mirror-run doctor` meant?" in capsys.readouterr().err
    assert cli.run_words(["carts", "--", "true"]) == 125
    assert "meant?" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *("-p abc", "-v nothing", "--memory much", "--map-port x", "--network host", "--add-host x", "-e =x"),
        *("--env-file /nowhere/env", "--http-method=GET --http-header=("),
    ],
)
def test_an_option_that_says_nothing_is_refused_before_anything_is_asked(
    engine: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_words([*words.split(), "container/cart", "--", "true"]) == 125
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 2
    assert engine == []


def test_whose_help_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    for words, whose in (
        (["ps", "--nonsense"], "mirror-run ps"),
        (["images", "push"], "mirror-run images push"),
        (["-e"], "mirror-run run"),
        (["--nonsense", "x"], "mirror-run run"),
    ):
        assert cli.run_words(words) == 125
        assert f"`{whose} --help` shows what there is" in capsys.readouterr().err


def test_without_a_word_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, one in (
        ([], "completion"),
        (["images"], "push"),
        (["help"], "completion"),
        (["help", "ps"], "-q:"),
    ):
        assert cli.run_words(words) == 0
        captured = capsys.readouterr()
        assert one in captured.out
        assert captured.err == ""


def test_help_has_headings_and_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_words(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
    assert cli.run_words(["run", "--help"]) == 0
    out = capsys.readouterr().out
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert "[default: 10m]" in " ".join(out.split())
    assert "[COMMAND]" not in out.partition(headings[0])[2]
    assert headings[0] == "Target and command:"
    assert headings[-1] == "General:"
    assert len(headings) == len(set(headings)) == 10


# --- completion ---------------------------------------------------------------------------------------------------


def tab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    """What bash would be offered at the end of the line."""
    monkeypatch.setenv("_MIRROR_RUN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    with pytest.raises(SystemExit):
        cli.run_words([])
    return capsys.readouterr().out.split()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mirror-run do", ["plain,doctor"]),
        ("mirror-run con", ["plain,container/cart"]),
        ("mirror-run comp", ["plain,completion"]),
        ("mirror-run --fs-m", ["plain,--fs-mode"]),
        ("mirror-run --fs-mode ov", ["plain,overrides"]),
        ("mirror-run -n shop con", ["plain,container/cart"]),
        ("mirror-run run con", ["plain,container/cart"]),
        ("mirror-run --target con", ["plain,container/cart"]),
        ("mirror-run container/cart -- ./a", ["file,./a"]),
        ("mirror-run ps --out", ["plain,--output"]),
        ("mirror-run images pu", ["plain,push"]),
    ],
)
def test_completion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, offered: list[str]
) -> None:
    assert tab(monkeypatch, capsys, line) == offered


def test_a_tab_says_nothing_where_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".mirror-run.yaml").write_text("nonsense: [")
    assert tab(monkeypatch, capsys, "mirror-run -q con") == []


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete "), ("zsh", "#compdef"), ("fish", "complete ")]
)
def test_the_shells_scripts(capsys: pytest.CaptureFixture[str], shell: str, word: str) -> None:
    assert cli.run_words(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert word in out
    assert "_MIRROR_RUN_COMPLETE" in out
