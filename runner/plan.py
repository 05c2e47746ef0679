"""What a run creates: options, caller, engine and target in; the Engine API's bodies for agent, bridge and
app out. Pure.

The app's command, environment and user are nowhere here: they go through the bridge to mirror-init, so that no
`docker inspect` and no disk of the engine's ever holds them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

from runner import VERSION, docker_words, ports
from runner.config import Caller, RunOptions
from runner.errors import Refusal
from runner.files import asked
from runner.labels import RELEASE, ROLE, Marks
from runner.worktree import WorkTree
from wire.messages import FilesMode, Identity
from wire.record import record

Json = dict[str, Any]

AGENT_FOLDER = "/run/mirror-run"
AGENT_SOCKET = f"{AGENT_FOLDER}/agent.sock"
AGENT_FOUNDERS_FOLDER = "/run/mirror-run-founders"
AGENT_FOUNDERS = f"{AGENT_FOUNDERS_FOLDER}/agent.sock"
"""Where sessions begin: no volume, so that a bridge, which has the other socket, cannot found one."""
AGENTS_FOLDER = f"{AGENT_FOLDER}/agents"
"""Where a bridge finds the sockets of agents that are elsewhere."""
INIT = "/.mirror-run/init"

AGENT_CAPABILITIES = ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW"]
BRIDGE_CAPABILITIES = ["NET_ADMIN", "DAC_OVERRIDE"]
AGENT_FILES_CAPABILITIES = [
    *("SETUID", "SETGID", "DAC_OVERRIDE", "DAC_READ_SEARCH", "CHOWN", "FOWNER", "FSETID"),
]
BRIDGE_FILES_CAPABILITIES = ["SYS_ADMIN"]
"""And these only for sessions that have the target's files: docs/plan-files.md."""

BRIDGE_SYSCTLS = {
    "net.ipv4.conf.all.accept_local": "1",
    "net.ipv4.conf.all.route_localnet": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.tcp_congestion_control": "reno",
}
IPV6_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
}
"""The bridge cannot write /proc/sys itself. Each key's reason stands in docs/plan.md."""


TUN = {"PathOnHost": "/dev/net/tun", "PathInContainer": "/dev/net/tun", "CgroupPermissions": "rwm"}
FUSE = {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}


def serves_files(options: RunOptions) -> bool:
    """Whether the session has the target's files at all."""
    return asked.served(options) != FilesMode.NONE


@record
class EngineTraits:
    """What of an engine changes the plan (`docker info`)."""

    apparmor: bool = False
    selinux: bool = False
    rootless: bool = False
    ipv6: bool = True
    same_host: bool = True
    shares_sockets: bool = True  # a Unix socket in a folder that is mounted reaches this machine's processes

    @property
    def security(self) -> list[str]:
        """AppArmor's docker-default forbids ptrace between containers, SELinux's container_t the sockets of
        another's."""
        return ["apparmor=unconfined"] * self.apparmor + ["label=disable"] * self.selinux


def sysctls(engine: EngineTraits) -> dict[str, str]:
    """What the bridge's network namespace begins with."""
    return BRIDGE_SYSCTLS | (IPV6_SYSCTLS if engine.ipv6 else {})


def traits(info: Json, *, same_host: bool) -> EngineTraits:
    """Read `docker info`."""
    options = {option.split(",")[0].removeprefix("name=") for option in info.get("SecurityOptions") or []}
    return EngineTraits(
        apparmor="apparmor" in options,
        selinux="selinux" in options,
        rootless="rootless" in options,
        ipv6=not same_host or os.path.exists("/proc/sys/net/ipv6") or not os.path.exists("/proc/sys/net"),
        same_host=same_host,
        # A machine between has another kernel; with another's user ids, our folder is closed to the bridge's root.
        shares_sockets=same_host
        and sys.platform == "linux"
        and "Docker Desktop" not in str(info.get("OperatingSystem", ""))
        and "userns" not in options,
    )


@record
class Streams:
    """How the app's standard streams are carried, as docker's -i and -t."""

    stdin: bool
    terminal: bool


def streams(options: RunOptions, caller: Caller) -> Streams:
    """-i and -t as given; else a terminal where the caller has one on both sides, and stdin wherever it may be read.

    A bare -t (a mirrord user's target, a docker user's terminal) asks for a terminal only where there is one.
    """
    terminal = caller.stdin_terminal and caller.stdout_terminal and caller.stdin_ours
    if options.tty is not None:
        terminal = options.tty
    stdin = caller.stdin_ours if options.interactive is None else options.interactive
    return Streams(stdin, terminal)


def agent_name(image_id: str, *, files: bool = False) -> str:
    """One agent for each version of it: a newer runner never speaks to an older agent by accident. Those that serve
    files have more capabilities, and so are others."""
    return f"mirror-run-agent-{hashlib.sha256(image_id.encode()).hexdigest()[:12]}" + "-files" * files


def agent(image: str, engine: EngineTraits, author: str, *, files: bool = False) -> Json:
    """The agent's container: the host's pids, no network, its capabilities, and a volume for its socket."""
    return {
        "Image": image,
        "Cmd": ["--founders", AGENT_FOUNDERS],
        "Labels": {ROLE: "agent", RELEASE: VERSION} | ({"mirror-run.dev/author": author} if author else {}),
        "HostConfig": {
            "AutoRemove": True,
            # Anonymous, so that it goes with the containers that have it; labelled, for when the engine forgets that.
            "Mounts": [
                {"Type": "volume", "Target": AGENT_FOLDER, "VolumeOptions": {"Labels": {ROLE: "agent"}}}
            ],
            "PidMode": "host",
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Tmpfs": {AGENT_FOUNDERS_FOLDER: "mode=0700,size=64k"},
            "CapDrop": ["ALL"],
            "CapAdd": AGENT_CAPABILITIES + AGENT_FILES_CAPABILITIES * files,
            "SecurityOpt": engine.security,
            "LogConfig": {
                "Type": "local",
                "Config": {"max-size": "1m", "max-file": "1", "compress": "false"},
            },
        },
    }


@record
class Names:
    """What the containers of a session are called."""

    bridge: str
    app: str


def names(session: str, options: RunOptions) -> Names:
    return Names(f"mirror-run-{session}-bridge", options.name or f"mirror-run-{session}-app")


def bridge(
    image: str, way: Json, options: RunOptions, config: Json, engine: EngineTraits, marks: Marks
) -> Json:
    """The bridge's container: the network namespace that it and the app share, and docker's options about it.

    ``way`` is what of HostConfig lets it reach the agents, ``config`` names the target in docker's words.
    """
    exposed, bindings = ports.published(options.publish)
    return {
        "Image": image,
        "Hostname": options.hostname or config.get("Hostname", ""),
        "Domainname": "" if options.hostname else config.get("Domainname", ""),
        "Labels": marks.of("bridge"),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": exposed,
        "HostConfig": {
            "AutoRemove": True,
            "NetworkMode": docker_words.network(options),
            "PortBindings": bindings,
            "CapDrop": ["ALL"],
            "CapAdd": BRIDGE_CAPABILITIES + BRIDGE_FILES_CAPABILITIES * serves_files(options),
            "Devices": [TUN] + [FUSE] * serves_files(options),
            "SecurityOpt": engine.security,
            "Sysctls": sysctls(engine),
            "LogConfig": {"Type": "none"},
        }
        | way,
    }


def app(
    image: str,
    bridge_name: str,
    options: RunOptions,
    caller: Caller,
    tree: WorkTree,
    carried: Streams,
    marks: Marks,
) -> Json:
    """The app's container: the target's image, mirror-init in front, the bridge's network, docker's other options."""
    mounts: list[Json] = []
    if tree.root is not None:
        mounts.append({"Type": "bind", "Source": str(tree.root), "Target": str(tree.root)})
    return {
        "Image": image,
        "Entrypoint": [INIT],
        "User": "0:0",
        "Labels": marks.of("app") | docker_words.labels(options.labels),
        "Tty": carried.terminal,
        "OpenStdin": carried.stdin,
        "StdinOnce": carried.stdin,
        "AttachStdin": carried.stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        # The image's health check would ask our init to run it, and a mark of the target's health is not the app's.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "AutoRemove": True,
            "NetworkMode": f"container:{bridge_name}",
            "Binds": [docker_words.bind(volume, caller) for volume in options.volumes],
            "Mounts": mounts,
            "Memory": docker_words.octets(options.memory),
            "NanoCpus": round(options.cpus * 1e9),
            "CapAdd": list(options.cap_add),
            # What the app prints is its caller's: no copy of it on the engine's disk.
            "LogConfig": {"Type": "none"},
        },
    }


def working_directory(
    options: RunOptions, caller: Caller, tree: WorkTree, own: str, *, commanded: bool
) -> str:
    """-w; else the caller's directory if the app sees it; else, or for the target's own command, ``own``."""
    if options.workdir:
        return options.workdir
    if commanded and tree.root is not None:
        return str(caller.cwd)
    return own or "/"


def command(options: RunOptions, config: Json) -> tuple[str, ...]:
    """The argv: what the user wrote, in place of ENTRYPOINT and CMD; without any, what ``config`` (of the target or of
    the image chosen) runs. --entrypoint is docker's: it comes first and drops the image's CMD."""
    if options.entrypoint:
        return (options.entrypoint, *options.command)
    if options.command:
        return options.command
    entrypoint = () if options.entrypoint == "" else _words(config.get("Entrypoint"))
    found = (*entrypoint, *_words(config.get("Cmd")))
    if not found:
        raise Refusal("the image has no command of its own", "say what to run: mirror-run TARGET -- COMMAND")
    return found


def with_hosts(identity: Identity, options: RunOptions) -> Identity:
    """The target's identity, with what --hostname and --add-host change of it."""
    lines = [docker_words.host(text) for text in options.add_hosts]
    own = identity.hosts if identity.hosts.endswith(b"\n") or not identity.hosts else identity.hosts + b"\n"
    return Identity(
        hostname=options.hostname or identity.hostname,
        addresses=identity.addresses,
        hosts=own + b"".join(lines),
        resolv_conf=identity.resolv_conf,
    )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(value or ())
