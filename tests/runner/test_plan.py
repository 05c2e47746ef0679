"""What a run creates on the engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner import plan
from runner.config import Caller, RunOptions
from runner.errors import Refusal
from runner.labels import ROLE, SESSION, Marks
from runner.worktree import WorkTree
from wire.messages import Address, Identity

OPTIONS = RunOptions(target="container/x", command=("sh",))
CALLER = Caller(1000, 1000, "ann", Path("/home/ann"), Path("/home/ann/src/a"), "Linux", {})
TREE = WorkTree(Path("/home/ann/src"))
MARKS = Marks("abcd", "container/x", "ann")
TARGET = {"Hostname": "web-1", "Domainname": "example", "ExposedPorts": {"80/tcp": {}}}
PLAIN = plan.EngineTraits()


def app(options: RunOptions = OPTIONS, tree: WorkTree = TREE) -> plan.Json:
    return plan.app(
        "sha256:1", "the-bridge", options, CALLER, tree, plan.Streams(stdin=True, terminal=False), MARKS
    )


def bridge(options: RunOptions = OPTIONS, traits: plan.EngineTraits = PLAIN) -> plan.Json:
    return plan.bridge("img", {"VolumesFrom": ["agent-id"]}, options, TARGET, traits, MARKS)


def test_every_container_removes_itself_and_is_marked() -> None:
    for role, body in {"agent": plan.agent("img", PLAIN, "ann"), "bridge": bridge(), "app": app()}.items():
        assert body["HostConfig"]["AutoRemove"] is True
        assert body["Labels"][ROLE] == role
        assert (SESSION in body["Labels"]) == (role != "agent")


def test_no_container_is_privileged_and_rights_are_named_one_by_one() -> None:
    for body in (plan.agent("img", PLAIN, "ann"), bridge()):
        assert "Privileged" not in body["HostConfig"]
        assert body["HostConfig"]["CapDrop"] == ["ALL"]
        assert "ALL" not in body["HostConfig"]["CapAdd"]
    assert app()["HostConfig"]["CapAdd"] == []
    assert "Devices" not in app()["HostConfig"]


def test_the_app_says_nothing_of_its_command_environment_or_user() -> None:
    secret = replace(OPTIONS, command=("run", "--password=hunter2"), env=("TOKEN=hunter2",), user="4711")
    assert "hunter2" not in json.dumps(app(secret))
    assert "4711" not in json.dumps(app(secret))
    assert "Env" not in app(secret)
    assert app(secret)["Entrypoint"] == [plan.INIT]


def test_the_agent_has_no_network_and_the_bridge_none_unless_asked() -> None:
    assert plan.agent("img", PLAIN, "ann")["HostConfig"]["NetworkMode"] == "none"
    assert bridge()["HostConfig"]["NetworkMode"] == "none"
    assert bridge(replace(OPTIONS, network="shop"))["HostConfig"]["NetworkMode"] == "shop"
    published = bridge(replace(OPTIONS, publish=("8080:80",)))
    assert published["HostConfig"]["NetworkMode"] == "bridge"
    assert published["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostPort": "8080"}]}


@pytest.mark.parametrize("network", ["host", "container:x"])
def test_a_network_that_would_replace_the_target_s(network: str) -> None:
    with pytest.raises(Refusal, match="only be added"):
        bridge(replace(OPTIONS, network=network))


def test_the_bridge_has_the_target_s_name() -> None:
    assert (bridge()["Hostname"], bridge()["Domainname"]) == ("web-1", "example")
    assert bridge(replace(OPTIONS, hostname="mine"))["Hostname"] == "mine"


def test_security_modules_are_told() -> None:
    info = {
        "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default", "name=selinux", "name=rootless"]
    }
    traits = plan.traits(info, same_host=True)
    assert traits.rootless
    assert bridge(traits=traits)["HostConfig"]["SecurityOpt"] == ["apparmor=unconfined", "label=disable"]
    assert bridge()["HostConfig"]["SecurityOpt"] == []


def test_ipv6_sysctls_only_where_there_is_ipv6() -> None:
    key = "net.ipv6.conf.all.disable_ipv6"
    assert key in bridge()["HostConfig"]["Sysctls"]
    assert key not in bridge(traits=plan.EngineTraits(ipv6=False))["HostConfig"]["Sysctls"]


def test_mounts_and_limits() -> None:
    asked = replace(
        OPTIONS,
        volumes=("./data:/data:ro", "cache:/cache", "/abs:/abs"),
        memory="512m",
        cpus=1.5,
        labels=("a=b", "c"),
    )
    body = app(asked)
    assert body["HostConfig"]["Binds"] == ["/home/ann/src/a/data:/data:ro", "cache:/cache", "/abs:/abs"]
    assert body["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/home/ann/src", "Target": "/home/ann/src"}
    ]
    assert (body["HostConfig"]["Memory"], body["HostConfig"]["NanoCpus"]) == (512 << 20, 1_500_000_000)
    assert (body["Labels"]["a"], body["Labels"]["c"]) == ("b", "")


@pytest.mark.parametrize(
    ("text", "octets"), [("1g", 1 << 30), ("1.5GB", 3 << 29), ("4096", 4096), ("64kb", 65536)]
)
def test_sizes(text: str, octets: int) -> None:
    assert app(replace(OPTIONS, memory=text))["HostConfig"]["Memory"] == octets


@pytest.mark.parametrize(
    ("options", "wrong"),
    [(replace(OPTIONS, memory="much"), "much"), (replace(OPTIONS, volumes=("x",)), "-v x")],
)
def test_what_cannot_be_read_is_refused(options: RunOptions, wrong: str) -> None:
    with pytest.raises(Refusal, match=wrong):
        app(options)


@pytest.mark.parametrize(
    ("asked", "config", "argv"),
    [
        ({"command": ("a", "b")}, {"Entrypoint": ["/e"], "Cmd": ["c"]}, ("a", "b")),
        ({"command": ()}, {"Entrypoint": ["/e"], "Cmd": ["c"]}, ("/e", "c")),
        ({"command": ()}, {"Entrypoint": None, "Cmd": ["c"]}, ("c",)),
        ({"command": (), "entrypoint": "sh"}, {"Entrypoint": ["/e"], "Cmd": ["c"]}, ("sh",)),
        ({"command": ("-c", "x"), "entrypoint": "sh"}, {"Cmd": ["c"]}, ("sh", "-c", "x")),
        ({"command": (), "entrypoint": ""}, {"Entrypoint": ["/e"], "Cmd": ["c"]}, ("c",)),
    ],
)
def test_the_command(asked: dict[str, object], config: plan.Json, argv: tuple[str, ...]) -> None:
    assert plan.command(replace(OPTIONS, **asked), config) == argv  # type: ignore[arg-type]


def test_no_command_anywhere() -> None:
    with pytest.raises(Refusal, match="no command of its own"):
        plan.command(replace(OPTIONS, command=()), {})


@pytest.mark.parametrize(
    ("workdir", "tree", "commanded", "expected"),
    [
        ("/w", TREE, True, "/w"),
        ("", TREE, True, "/home/ann/src/a"),
        ("", TREE, False, "/srv"),
        ("", WorkTree(None), True, "/srv"),
    ],
)
def test_the_working_directory(workdir: str, tree: WorkTree, commanded: bool, expected: str) -> None:
    asked = replace(OPTIONS, workdir=workdir)
    assert plan.working_directory(asked, CALLER, tree, "/srv", commanded=commanded) == expected


@pytest.mark.parametrize(
    ("stdin_terminal", "stdout_terminal", "ours", "asked", "expected"),
    [
        (True, True, True, {}, (True, True)),
        (False, True, True, {}, (True, False)),
        (True, False, True, {}, (True, False)),
        (True, True, False, {}, (False, False)),  # a background job
        (False, False, True, {"tty": True}, (True, True)),
        (True, True, True, {"tty": False}, (True, False)),
        (True, True, True, {"interactive": False}, (False, True)),
    ],
)
def test_streams(
    stdin_terminal: bool,
    stdout_terminal: bool,
    ours: bool,
    asked: dict[str, bool],
    expected: tuple[bool, bool],
) -> None:
    who = replace(CALLER, stdin_terminal=stdin_terminal, stdout_terminal=stdout_terminal, stdin_ours=ours)
    found = plan.streams(replace(OPTIONS, **asked), who)  # type: ignore[arg-type]
    assert (found.stdin, found.terminal) == expected


def test_hosts() -> None:
    who = Identity("web-1", (Address(bytes(4), 24),), b"127.0.0.1 localhost", b"nameserver 127.0.0.11\n")
    asked = replace(OPTIONS, hostname="mine", add_hosts=("db:198.51.100.7", "six=[fd00::1]", "colon:fd00::2"))
    told = plan.with_hosts(who, asked)
    assert told.hostname == "mine"
    assert told.hosts == b"127.0.0.1 localhost\n198.51.100.7\tdb\nfd00::1\tsix\nfd00::2\tcolon\n"
    assert plan.with_hosts(who, OPTIONS).hosts == b"127.0.0.1 localhost\n"
    with pytest.raises(Refusal, match="--add-host db"):
        plan.with_hosts(who, replace(OPTIONS, add_hosts=("db",)))


def test_another_version_is_another_agent() -> None:
    assert plan.agent_name("mirror-run/agent:1") != plan.agent_name("mirror-run/agent:2")
