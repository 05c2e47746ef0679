"""Ports, users, the work tree, signals, contexts, refusals and what is said of mirrored ports."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from runner import contexts, ports, refusals, users, worktree
from runner.config import Caller
from runner.errors import NOT_FOUND, Refusal
from runner.labels import ROLE, SESSION, forgotten
from runner.present import Present
from runner.signals import End, Forward, Signals
from wire.messages import AppPort, Port, Proto, User

TCP, UDP = int(Proto.TCP), int(Proto.UDP)

# --- ports ---


def test_mapped_ports() -> None:
    assert ports.mapped(["3000:80", "53:5353/udp"]) == (
        AppPort(TCP, 3000, 80, declared=True),
        AppPort(UDP, 53, 5353, declared=True),
    )


@pytest.mark.parametrize("text", ["80", "0:80", "80:65536", "a:b", "80:80/sctp", "80:80:80"])
def test_no_pair_of_ports(text: str) -> None:
    with pytest.raises(Refusal, match="no pair of ports"):
        ports.mapped([text])


def test_declared_ports() -> None:
    assert ports.declared({"80/tcp": {}, "53/udp": {}, "9/sctp": {}}) == (Port(TCP, 80), Port(UDP, 53))
    assert ports.declared(None) == ()


def test_published_as_docker() -> None:
    exposed, bindings = ports.published(["8080:80", "127.0.0.1:5353:53/udp", "9000"])
    assert exposed == {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}}
    assert bindings == {
        "80/tcp": [{"HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
        "9000/tcp": [{"HostPort": ""}],
    }


def test_published_nonsense() -> None:
    with pytest.raises(Refusal, match="-p x:y:z:q"):
        ports.published(["x:y:z:q"])


# --- users ---

PASSWD = b"root:x:0:0:root:/root:/bin/bash\napp:x:1001:1002::/srv/app:/bin/sh\n"
GROUP = b"root:x:0:\nweb:x:33:app,other\nstaff:x:50:\n"


def caller(uid: int = 1000, system: str = "Linux") -> Caller:
    return Caller(uid, uid, "ann", Path("/home/ann"), Path("/home/ann/src"), system, {})


@pytest.mark.parametrize(
    ("who", "rootless", "user"),
    [
        (caller(), False, User(1000, 1000, name="ann", home="/home/ann")),
        (caller(), True, users.ROOT),
        (caller(0), False, users.ROOT),
        (caller(501, "Darwin"), False, None),
    ],
)
def test_default_user(who: Caller, rootless: bool, user: User | None) -> None:
    assert users.default(who, rootless=rootless) == user


@pytest.mark.parametrize(
    ("asked", "user"),
    [
        ("", users.ROOT),
        ("root", users.ROOT),
        ("app", User(1001, 1002, (33,), "", "/srv/app")),
        ("1001", User(1001, 1002, (33,), "", "/srv/app")),
        ("app:staff", User(1001, 50, (), "", "/srv/app")),
        ("app:7", User(1001, 7, (), "", "/srv/app")),
        ("4242", User(4242, 0, (), "u4242", "/home/u4242")),
    ],
)
def test_named_users(asked: str, user: User) -> None:
    assert users.named(asked, PASSWD, GROUP) == user


@pytest.mark.parametrize(("asked", "what"), [("bob", "no user 'bob'"), ("app:wheel", "no group 'wheel'")])
def test_unknown_names(asked: str, what: str) -> None:
    with pytest.raises(Refusal, match=what):
        users.named(asked, PASSWD, GROUP)


# --- work tree ---


def test_the_git_root_is_mounted(tmp_path: Path) -> None:
    inner = tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    assert worktree.around(inner, Path("/home/ann")).root == tmp_path / "repo"


def test_a_linked_work_tree_has_a_file(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /elsewhere")
    assert worktree.around(tmp_path, Path("/home/ann")).root == tmp_path


def test_without_git_the_directory_itself(tmp_path: Path) -> None:
    assert worktree.around(tmp_path, Path("/home/ann")).root == tmp_path


def test_a_home_under_git_is_not_mounted_whole(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    assert worktree.around(tmp_path / "src", tmp_path).root == tmp_path / "src"
    refused = worktree.around(tmp_path, tmp_path)
    assert refused.root is None
    assert "-v" in refused.why


@pytest.mark.parametrize("place", ["/", "/etc", "/usr", "/home"])
def test_system_folders_are_not_mounted(place: str) -> None:
    assert worktree.around(Path(place), Path("/home/ann")).root is None


# --- signals ---


def test_signals_are_the_app_s_and_the_second_ends() -> None:
    play = Signals(running=True)
    assert play.came(signal.SIGINT, 10.0) == Forward(signal.SIGINT)
    assert play.came(signal.SIGTERM, 11.0) == Forward(signal.SIGTERM)
    assert play.came(signal.SIGINT, 12.1) == Forward(signal.SIGINT)
    assert play.came(signal.SIGINT, 14.0) == End(signal.SIGINT)


def test_before_the_app_runs_a_signal_ends() -> None:
    assert Signals().came(signal.SIGTERM, 0.0) == End(signal.SIGTERM)


def test_usr1_never_ends() -> None:
    play = Signals(running=True)
    assert [play.came(signal.SIGUSR1, i * 0.1) for i in range(3)] == [Forward(signal.SIGUSR1)] * 3


# --- contexts ---


def context(home: Path, name: str, host: str, **more: object) -> None:
    folder = home / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host, **more}}})
    )


def test_docker_host_wins(tmp_path: Path) -> None:
    (found,) = contexts.choose({"DOCKER_HOST": "tcp://x:2375", "DOCKER_CONTEXT": "y"}, tmp_path)
    assert (found.url, found.same_host) == ("tcp://x:2375", False)


def test_the_chosen_context(tmp_path: Path) -> None:
    context(tmp_path, "colima", "unix:///c.sock")
    context(tmp_path, "far", "ssh://me@far", SkipTLSVerify=True)
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "colima"}')
    assert [one.url for one in contexts.choose({}, tmp_path)] == ["unix:///c.sock"]
    (far,) = contexts.choose({"DOCKER_CONTEXT": "far"}, tmp_path)
    assert (far.url, far.verify, far.same_host) == ("ssh://me@far", False, False)
    assert contexts.choose({"DOCKER_CONTEXT": "far"}, tmp_path, "colima")[0].url == "unix:///c.sock"


def test_an_unknown_context(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no docker context named 'nope'"):
        contexts.choose({"DOCKER_CONTEXT": "nope"}, tmp_path)


def test_usual_sockets(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()
    found = contexts.choose({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path)
    assert [one.url for one in found] == ["unix:///var/run/docker.sock", f"unix://{tmp_path}/docker.sock"]


def test_tls_by_environment(tmp_path: Path) -> None:
    (found,) = contexts.choose({"DOCKER_HOST": "tcp://x:2376", "DOCKER_TLS_VERIFY": "1"}, tmp_path)
    assert (found.ca, found.key) == (f"{tmp_path}/.docker/ca.pem", f"{tmp_path}/.docker/key.pem")


# --- refusals ---


@pytest.mark.parametrize(
    ("sentence", "what", "next_step"),
    [
        (
            'error gathering device information while adding custom device "/dev/net/tun": no such file or directory',
            "no /dev/net/tun",
            "modprobe tun",
        ),
        (
            'invalid mount config for type "bind": bind source path does not exist: /work/tree',
            "cannot see /work/tree",
            "File sharing",
        ),
        (
            'Conflict. The container name "/x" is already in use by container "0123"',
            "named x is there already",
            "docker rm -f x",
        ),
        ("driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "port of -p", "ss -ltnp"),
        ("network foo not found", "no network foo", "docker network ls"),
        ("something new", "the engine refused: something new", "doctor"),
    ],
)
def test_refusals_of_the_engine(sentence: str, what: str, next_step: str) -> None:
    refusal = refusals.translated(sentence)
    assert what in refusal.what
    assert sentence in refusal.what
    assert next_step in refusal.next_step


def test_a_missing_program_is_127() -> None:
    assert refusals.translated('exec: "x": executable file not found in $PATH').code == NOT_FOUND


# --- mirrored ports ---


def test_one_line_for_all_containers() -> None:
    play = Present("mirroring", "compose/api")
    web = (AppPort(TCP, 8080, 8080), AppPort(UDP, 53, 53))
    play.notice(0, web)
    play.notice(1, web[::-1])
    assert play.line() == "mirroring 8080, 53/udp of compose/api (2 containers)"
    assert play.line() is None
    play.gone(1)
    assert play.line() == "mirroring 8080, 53/udp of compose/api"
    play.notice(0, (AppPort(TCP, 3000, 80),))
    assert play.line() == "mirroring 80 (the app's 3000) of compose/api"
    play.notice(0, ())
    assert play.line() == "no longer mirroring 80 (the app's 3000) of compose/api"
    assert play.line() is None


# --- what a killed runner left ---


def test_only_our_own_never_started_and_old_containers_are_forgotten() -> None:
    def one(name: str, state: str, created: float, **labels: str) -> dict[str, object]:
        return {"Id": name, "State": state, "Created": created, "Labels": labels}

    ours = {SESSION: "s", ROLE: "app"}
    engine = [
        one("old", "created", 0, **ours),
        one("new", "created", 950, **ours),
        one("running", "running", 0, **ours),
        one("stranger", "created", 0),
        one("agent", "created", 0, **{ROLE: "agent"}),
    ]
    assert forgotten(engine, 1000.0) == ["old"]


def test_what_is_mirrored_is_said_anew_after_a_restart() -> None:
    play, web = Present("mirroring", "container/x"), (AppPort(TCP, 80, 80),)
    play.notice(0, web)
    assert play.line() == "mirroring 80 of container/x"
    play.gone(0)
    assert play.line() is None
    play.notice(0, web)
    assert play.line() == "mirroring 80 of container/x"


def test_what_came_back_is_said_anew_though_others_were_mirrored_all_the_while() -> None:
    play, web = Present("mirroring", "deploy/x"), (AppPort(TCP, 80, 80),)
    for index in range(3):
        play.notice(index, web)
    assert play.line() == "mirroring 80 of deploy/x (3 containers)"
    play.gone(1)
    play.notice(1, web)
    assert play.line() == "mirroring 80 of deploy/x (3 containers)"
    play.notice(1, web)
    assert play.line() is None


def test_the_end_of_mirroring_is_said_after_one_has_gone() -> None:
    play, web = Present("mirroring", "deploy/x"), (AppPort(TCP, 80, 80),)
    play.notice(0, web)
    play.notice(1, web)
    assert play.line() == "mirroring 80 of deploy/x (2 containers)"
    play.gone(1)
    play.notice(0, ())
    assert play.line() == "no longer mirroring 80 of deploy/x (2 containers)"
    assert play.line() is None


def test_a_container_of_which_nothing_was_mirrored_goes_without_a_word() -> None:
    play, web = Present("mirroring", "deploy/x"), (AppPort(TCP, 80, 80),)
    play.notice(0, web)
    play.notice(1, ())
    assert play.line() == "mirroring 80 of deploy/x"
    play.gone(1)
    assert play.line() is None
