"""The whole daemon over its Unix socket, with a real container of the engine as the target."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from pyroute2 import netns

from links.handshake import adopt, dial
from links.link import CallFailed, Link, LinkEnded
from runner import images
from tests.net import ready
from tests.net.agent.lab import Bridge, run
from wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL,
    AppPort,
    Attach,
    Attached,
    CountersAre,
    Detach,
    Environ,
    GetCounters,
    GetEnviron,
    Hello,
    LinkKind,
    Listening,
    Message,
    Mirroring,
    Proto,
    TargetGone,
)

pytestmark = [pytest.mark.net, pytest.mark.native, pytest.mark.engine]

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "export FROM_ENTRYPOINT='a b=c'; cd /var/tmp; exec sleep 3600"


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if os.geteuid() != 0:
        pytest.skip("the agent needs root")
    made = docker.from_env(timeout=60)
    made.ping()
    yield made
    made.close()


@pytest.fixture(scope="module")
def base(client: docker.DockerClient) -> str:
    """The product's base image: it is on the engine already, or takes a while."""
    return images.base(client, lambda line: None)


@pytest.fixture(params=["root", "1234:1234"])
def container(client: docker.DockerClient, base: str, request: pytest.FixtureRequest) -> Iterator[Container]:
    """Of root's, and of a user whose files and processes four capabilities alone do not open."""
    made = client.containers.run(
        base,
        ["sh", "-c", COMMAND],
        name=f"agt-{secrets.token_hex(4)}",
        hostname="the-target",
        environment={"GIVEN": "1"},
        user=request.param,
        detach=True,
        init=False,
    )
    try:
        made.reload()
        yield made
    finally:
        made.remove(force=True)


class Daemon:
    """The agent's process, its socket, and links to it."""

    def __init__(self, process: asyncio.subprocess.Process, path: str, founders: str) -> None:
        self.process = process
        self.path = path
        self.founders = founders
        self.secret = secrets.token_bytes(32)

    def hello(
        self, kind: LinkKind, *, founder: bool = False, session: str = "s1", secret: bytes = b""
    ) -> Hello:
        return Hello(
            PROTOCOL, OLDEST_PROTOCOL, "test 1", kind, session, secret or self.secret, "author", founder
        )

    async def control(self, **options: object) -> Link:
        """A control link, entered by the caller."""
        path = self.founders if options.get("founder") else self.path
        sock = await dial(path, self.hello(LinkKind.CONTROL, **options), 5)  # type: ignore[arg-type]
        return Link(*await adopt(sock), name="agent")

    async def data(self, **options: object) -> Bridge:
        sock = await dial(self.path, self.hello(LinkKind.DATA, **options), 5)  # type: ignore[arg-type]
        return Bridge(*await asyncio.open_unix_connection(sock=sock))


@asynccontextmanager
async def started(path: Path) -> AsyncIterator[Daemon]:
    """With the capabilities of its container and no others. Ready when it says that it listens."""
    process = await asyncio.create_subprocess_exec(
        "setpriv",
        "--inh-caps=-all",
        "--bounding-set=-all,+sys_admin,+sys_ptrace,+net_admin,+net_raw",
        sys.executable,
        "-m",
        "agent.main",
        "--socket",
        str(path),
        "--founders",
        str(path.with_name("founders.sock")),
        "--log-level",
        "INFO",
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await ready.says(process.stderr, "listening")
        yield Daemon(process, str(path), str(path.with_name("founders.sock")))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with started(tmp_path / "agent.sock") as made:
        yield made


async def heard(link: Link) -> Message:
    """The next notice."""
    async with asyncio.timeout(10):
        return await anext(aiter(link.incoming()))


def listener_in(container: Container, port: int = 0) -> socket.socket:
    """A listening socket inside the container's network namespace."""
    netns.pushns(f"/proc/{container.attrs['State']['Pid']}/ns/net")
    try:
        sock = socket.socket()
    finally:
        netns.popns()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    sock.listen()
    sock.setblocking(False)
    return sock


async def test_attach_tells_who_the_target_is(daemon: Daemon, container: Container) -> None:
    async with await daemon.control(founder=True) as runner:
        attached = await runner.call(Attach(0, 0, container.id))
        assert isinstance(attached, Attached)
        state = container.attrs
        assert attached.pid == state["State"]["Pid"]
        who = attached.identity
        assert who.hostname == "the-target"
        network = next(iter(state["NetworkSettings"]["Networks"].values()))
        assert (str(ipaddress.ip_address(who.addresses[0].ip)), who.addresses[0].prefix) == (
            network["IPAddress"],
            network["IPPrefixLen"],
        )
        assert who.hosts == container.exec_run(["cat", "/etc/hosts"]).output
        assert who.resolv_conf == container.exec_run(["cat", "/etc/resolv.conf"]).output
        environ = await runner.call(GetEnviron(0, 0))
        assert isinstance(environ, Environ)
        assert environ.cwd == "/var/tmp"
        assert {b"FROM_ENTRYPOINT=a b=c", b"GIVEN=1"} <= set(environ.variables)


async def test_a_link_in_the_targets_root_leads_nowhere_else(daemon: Daemon, container: Container) -> None:
    """A target may make its /etc/hosts a link: it is resolved inside its own root, and never through /proc."""
    container.exec_run(
        [
            "sh",
            "-c",
            "umount /etc/resolv.conf; rm -f /etc/resolv.conf; ln -s /proc/1/root/etc/shadow /etc/resolv.conf",
        ]
    )
    async with await daemon.control(founder=True) as runner:
        answer: object
        try:
            answer = await runner.call(Attach(0, 0, container.id))
        except CallFailed as failed:
            answer = failed
        if isinstance(
            answer, Attached
        ):  # the engine did not let it unmount: then it is the engine's own file
            assert answer.identity.resolv_conf == container.exec_run(["cat", "/etc/resolv.conf"]).output


async def test_what_cannot_be_attached(daemon: Daemon) -> None:
    async with await daemon.control(founder=True) as runner:
        with pytest.raises(CallFailed, match="no process of container 000000000000"):
            await runner.call(Attach(0, 0, "0" * 64))
        with pytest.raises(CallFailed, match="full id"):
            await runner.call(Attach(0, 0, "web"))
        with pytest.raises(CallFailed, match="there is no target 3"):
            await runner.call(GetEnviron(0, 3))
        assert isinstance(await runner.call(GetCounters(0)), CountersAre)


async def test_the_secret_opens_and_nothing_else(daemon: Daemon, container: Container) -> None:
    async with await daemon.control(founder=True) as runner:
        sentences = set()
        for session, secret in (("s1", secrets.token_bytes(32)), ("other", daemon.secret)):
            with pytest.raises(LinkEnded) as refused:
                await daemon.control(session=session, secret=secret)
            sentences.add(refused.value.reason)
        assert sentences == {"no session of that name has that secret"}
        with pytest.raises(LinkEnded, match="already"):
            await daemon.control(founder=True, secret=secrets.token_bytes(32))
        async with await daemon.control() as bridge:
            with pytest.raises(CallFailed, match="the runner's to ask"):
                await bridge.call(Attach(0, 0, container.id))
        assert isinstance(await runner.call(GetCounters(0)), CountersAre)


async def test_no_session_begins_where_bridges_come(daemon: Daemon) -> None:
    """Every bridge has the other socket: whoever took one over could otherwise attach any container of the machine."""
    with pytest.raises(LinkEnded, match="no session begins here"):
        await dial(daemon.path, daemon.hello(LinkKind.CONTROL, founder=True), 5)


async def test_a_connection_from_inside_the_container(daemon: Daemon, container: Container) -> None:
    with listener_in(container) as listener:
        async with await daemon.control(founder=True) as runner:
            await runner.call(Attach(0, 0, container.id))
            bridge = await daemon.data()
            flow = await bridge.tcp("127.0.0.1", listener.getsockname()[1])
            peer, address = await asyncio.get_running_loop().sock_accept(listener)
            assert address[0] == "127.0.0.1"
            await flow.send(b"hello")
            assert await asyncio.get_running_loop().sock_recv(peer, 5) == b"hello"
        await asyncio.wait_for(
            bridge.task, 10
        )  # the runner is gone: so is the session, and with it the data link
        with peer, pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(peer, 1)
        await bridge.close()


async def test_ports_are_mirrored_while_both_listen(daemon: Daemon, container: Container) -> None:
    wanted = (
        AppPort(Proto.TCP, 8080, 80),
        AppPort(Proto.TCP, 5005, 5005),
        AppPort(Proto.TCP, 9, 9, declared=True),
    )
    async with await daemon.control(founder=True) as runner, await daemon.control() as bridge:
        await runner.call(Attach(0, 0, container.id))
        data = await daemon.data()
        await bridge.send(Listening(wanted))
        assert await heard(runner) == Mirroring(0, (wanted[2],))
        with listener_in(container, 80):
            assert await heard(runner) == Mirroring(0, (wanted[2], wanted[0]))
        assert await heard(runner) == Mirroring(0, (wanted[2],))
        await bridge.close()
        assert await heard(runner) == Mirroring(0, ())
        await data.close()


async def test_it_follows_a_restart(daemon: Daemon, container: Container) -> None:
    async with await daemon.control(founder=True) as runner:
        first = await runner.call(Attach(0, 0, container.id))
        restart = asyncio.create_task(asyncio.to_thread(container.restart, timeout=0))
        assert await heard(runner) == TargetGone(0)
        await restart
        container.reload()
        again = await runner.call(Attach(0, 0, container.id))
        assert isinstance(first, Attached)
        assert isinstance(again, Attached)
        assert again.pid == container.attrs["State"]["Pid"] != first.pid
        await runner.call(Detach(0, 0))
        with pytest.raises(CallFailed, match="there is no target 0"):
            await runner.call(GetEnviron(0, 0))


async def test_it_ends_after_its_last_session(daemon: Daemon) -> None:
    async with await daemon.control(founder=True), await daemon.control(founder=True, session="s2"):
        pass
    assert await asyncio.wait_for(daemon.process.wait(), 10) == 0
    assert not os.path.exists(daemon.path)  # noqa: ASYNC240


async def test_sigterm_is_an_orderly_end(daemon: Daemon) -> None:
    async with await daemon.control(founder=True) as runner, await daemon.control() as bridge:
        stranger = socket.socket(socket.AF_UNIX)  # has not said Hello: must not hold the end up
        stranger.connect(daemon.path)
        daemon.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(runner.ended, 5) == "the agent was ended (SIGTERM)"
        assert await asyncio.wait_for(bridge.ended, 5) == "the agent was ended (SIGTERM)"
        assert await asyncio.wait_for(daemon.process.wait(), 5) == 0
        stranger.close()


async def test_kill_leaves_nothing_in_the_target(daemon: Daemon, container: Container) -> None:
    with listener_in(container) as listener:
        async with await daemon.control(founder=True) as runner:
            await runner.call(Attach(0, 0, container.id))
            bridge = await daemon.data()
            for _ in range(20):
                await bridge.tcp("127.0.0.1", listener.getsockname()[1])
            assert sockets_to(container, listener) == 20
            daemon.process.kill()
            await daemon.process.wait()
            assert sockets_to(container, listener) == 0
        await bridge.close()


def sockets_to(container: Container, listener: socket.socket) -> int:
    """Connections towards the listener, in the container's namespace, that some process still holds."""
    port = listener.getsockname()[1]
    pid = container.attrs["State"]["Pid"]
    lines = run(
        "nsenter", "-n", "-t", str(pid), "ss", "-Htn", "state", "established", "dport", "=", f":{port}"
    )
    return len(lines.splitlines())


@pytest.mark.parametrize("name", ["sys_admin", "sys_ptrace", "net_admin", "net_raw"])
def test_what_is_missing_is_said(tmp_path: Path, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("capabilities are root's to drop")
    command = ["setpriv", f"--bounding-set=-{name}", "--inh-caps=-all", sys.executable, "-m", "agent.main"]
    done = subprocess.run(
        [*command, "--socket", str(tmp_path / "s")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert f"lacks CAP_{name.upper()}" in done.stderr
    assert "Traceback" not in done.stderr


def resident(process: asyncio.subprocess.Process) -> float:
    """MB that are this process's own (proc(5), RssAnon)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("RssAnon:"))


@pytest.mark.parametrize("container", ["root"], indirect=True)
async def test_an_idle_agent_keeps_nothing_of_its_last_sessions(daemon: Daemon, container: Container) -> None:
    """Which had slow takers, all at a time: what waited lies in pieces among each other, and the allocator keeps those.
    The agent ends two seconds later, and is not there to be looked at any more."""
    before = resident(daemon.process)
    network = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))
    full, over = asyncio.Event(), asyncio.Barrier(20)

    async def session(name: str, listener: socket.socket) -> None:
        own = {"session": name, "secret": secrets.token_bytes(32)}
        async with await daemon.control(founder=True, **own) as runner:
            await runner.call(Attach(0, 0, container.id))
            bridge = await daemon.data(**own)
            flow = await bridge.tcp(network["IPAddress"], listener.getsockname()[1])
            # More than the kernel takes for somebody who never reads.
            sending = asyncio.create_task(flow.send(bytes(16 * 1024 * 1024)))
            await full.wait()
            sending.cancel()
            await over.wait()
            await bridge.close()
            await runner.close("the command has ended")

    with listener_in(container) as listener:
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(session(f"s{number}", listener))
            await until(lambda: resident(daemon.process) > before + 18)
            full.set()
    await until(lambda: resident(daemon.process) < before + 6)


async def until(true: Callable[[], bool]) -> None:
    """Nobody tells what a process holds."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
