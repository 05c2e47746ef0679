"""The way through a real API server: credentials, forwards, the bridge's legs, and what a cut does to each of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import stat
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from runner.errors import Refusal
from runner.kube import forward_transport, portforward
from runner.kube.api import Cluster, KubeError, KubeOptions, connect
from runner.kube.forward_core import SPDY, V4
from runner.kube.forward_transport import ForwardRefused
from runner.kube.portforward import Forward, forward
from runner.kube.tunnel import Tunnel
from tests.cluster import faults
from tests.cluster.kubectl import Kubectl
from tests.e2e.kubernetes.scene import Images, container, pod_spec
from tests.net.delay import Delay
from tests.runner.kube.served import proxy, socks

PORT = 7001
SECOND = 7002
FAR = (Path(__file__).parent / "far_end.py").read_text()
HOME = Path("/nonexistent")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Far:
    """The pod at the far end, as ``Tunnel`` wants it."""

    namespace: str
    pod: str
    port: int = PORT


@pytest.fixture(scope="module")
def far(cluster: Kubectl, images: Images) -> Iterator[Far]:
    namespace = f"mrt-tunnel-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", namespace)
    first = container(images.programs, ["python3", "-c", FAR, str(PORT)])
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "far"}, "spec": pod_spec(first)},
        namespace=namespace,
    )
    cluster("-n", namespace, "wait", "--for=condition=Ready", "pod/far", "--timeout=60s", patience=70)
    _listens(cluster, namespace, PORT)
    yield Far(namespace, "far")
    cluster("-n", namespace, "delete", "pod", "--all", "--wait=false", "--grace-period=0", "--force")
    cluster("delete", "namespace", namespace, "--timeout=60s", patience=70)


def _listens(cluster: Kubectl, namespace: str, port: int) -> None:
    deadline = time.monotonic() + 20
    command = ("-n", namespace, "exec", "far", "--", "nc", "-z", "127.0.0.1", str(port))
    while cluster.tried(*command).returncode:
        assert time.monotonic() < deadline, f"nobody listens on {port}"


def changed(cluster: Kubectl, folder: Path, user: dict[str, Any] | None = None, **server: Any) -> str:
    """A copy of the kubeconfig; ``user`` takes its user's place, ``server`` is added to its cluster."""
    whole = yaml.safe_load(cluster.kubeconfig.read_text())
    whole["clusters"][0]["cluster"] |= {key.replace("_", "-"): value for key, value in server.items()}
    if user is not None:
        whole["users"][0]["user"] = user
    path = folder / f"kubeconfig-{uuid.uuid4().hex[:6]}"
    path.write_text(yaml.safe_dump(whole))
    return str(path)


@asynccontextmanager
async def api(
    kubeconfig: str | Path, environ: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Cluster]:
    given = {"PATH": os.environ["PATH"]} | (environ or {})
    made = await connect(KubeOptions(str(kubeconfig), **options), given, HOME)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def to(cluster: Cluster, far: Far, first: str = "", port: int = 0) -> AsyncIterator[Forward]:
    made = await forward(cluster, far.namespace, far.pod, port or far.port)
    try:
        if first:
            made.writer.write(f"{first}\n".encode())
        yield made
    finally:
        made.writer.close()
        with suppress(OSError):
            await made.writer.wait_closed()


@asynccontextmanager
async def relayed(cluster: Kubectl, folder: Path, one_way: float = 0.0) -> AsyncIterator[tuple[Delay, str]]:
    """A relay before the API server, and a kubeconfig that goes by it."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    host, _, port = server.removeprefix("https://").partition(":")
    async with Delay(host, int(port or 443), one_way) as relay:
        yield relay, changed(cluster, folder, server=f"https://127.0.0.1:{relay.port}", tls_server_name=host)


# --- forwards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocols", [(SPDY, V4), (V4,)])
async def test_octets_both_ways_at_once(
    cluster: Kubectl, far: Far, protocols: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 MiB there and back, in pieces of every size; the end is told."""
    monkeypatch.setattr(portforward, "OFFERED", protocols)
    sent = os.urandom(8 * MIB) * 3
    sizes = [1, 7, 4096, 65_535, 65_536, 65_537, 300_001, MIB]
    async with api(cluster.kubeconfig) as one, to(one, far, "echo") as stream:

        async def say() -> None:
            at, turn = 0, 0
            while at < len(sent):
                stream.writer.write(sent[at : at + sizes[turn % len(sizes)]])
                at += sizes[turn % len(sizes)]
                turn += 1
                await stream.writer.drain()

        saying = asyncio.create_task(say())
        assert await asyncio.wait_for(stream.reader.readexactly(len(sent)), 60) == sent
        await saying
    async with api(cluster.kubeconfig) as one, to(one, far, "bye") as stream:
        assert await asyncio.wait_for(stream.reader.read(-1), 10) == b""


@pytest.mark.parametrize("protocols", [(SPDY, V4), (V4,)])
async def test_nobody_listens_and_then_somebody_does(
    cluster: Kubectl, far: Far, protocols: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portforward, "OFFERED", protocols)
    port = SECOND + len(protocols)
    async with api(cluster.kubeconfig) as one:
        async with to(one, far, "echo", port) as stream:
            with pytest.raises(ForwardRefused, match="nobody listens there"):
                await asyncio.wait_for(stream.reader.read(1), 10)
        start = f"nohup python3 -c '{FAR}' {port} >/dev/null 2>&1 &"
        cluster("-n", far.namespace, "exec", "far", "--", "sh", "-c", start)
        _listens(cluster, far.namespace, port)
        async with to(one, far, "echo", port) as stream:
            stream.writer.write(b"now")
            assert await asyncio.wait_for(stream.reader.readexactly(3), 10) == b"now"


async def test_dials_that_are_given_up_leave_nothing_open(cluster: Kubectl, far: Far) -> None:
    """At any moment: while TCP, TLS or the request for the forward is under way, or just after."""
    async with api(cluster.kubeconfig) as one:
        async with to(one, far, "bye") as stream:
            await stream.reader.read(-1)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(40):
            dialling = asyncio.create_task(forward(one, far.namespace, far.pod, PORT))
            await asyncio.wait([dialling], timeout=0.001 * number)
            if not dialling.cancel():
                dialling.result().writer.transport.abort()
            await asyncio.wait([dialling])
        deadline = time.monotonic() + 5
        while len(os.listdir("/proc/self/fd")) > before or len(asyncio.all_tasks()) > 1:
            assert time.monotonic() < deadline, (os.listdir("/proc/self/fd"), asyncio.all_tasks())
            await asyncio.sleep(0.01)  # transports end in callbacks of their own


async def test_what_the_api_server_refuses(cluster: Kubectl, far: Far) -> None:
    async with api(cluster.kubeconfig) as one:
        with pytest.raises(KubeError) as missing:
            await forward(one, far.namespace, "no-such-pod", PORT)
        assert missing.value.missing
    async with api(cluster.kubeconfig, as_user="nobody-special") as one:
        assert await one.whoami() == "nobody-special"
        assert not await one.allowed("create", "pods", subresource="portforward", namespace=far.namespace)
        for call in (
            one.list(f"/api/v1/namespaces/{far.namespace}/pods"),
            forward(one, far.namespace, "far", PORT),
        ):
            with pytest.raises(KubeError) as refused:
                await call
            assert refused.value.forbidden
            assert f"in namespace {far.namespace}" in str(refused.value)
            assert "nobody-special" in str(refused.value)
            assert "kubectl auth can-i" in refused.value.next_step
    async with (
        api(cluster.kubeconfig, as_user="x", as_groups=("system:masters",)) as one,
        to(one, far, "bye"),
    ):
        pass


async def test_a_far_end_that_does_not_read_stops_the_writer(cluster: Kubectl, far: Far) -> None:
    """Zero credit: what may wait here is bounded, whatever the way itself holds."""
    async with api(cluster.kubeconfig) as one, to(one, far, "hold") as stream:

        async def fill() -> None:
            for _ in range(1024):
                stream.writer.write(bytes(MIB))
                await stream.writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fill(), 6)
        assert stream.writer.transport.get_write_buffer_size() < 3 * MIB
        stream.writer.transport.abort()


async def test_a_reader_that_waits_stops_the_far_end(cluster: Kubectl, far: Far) -> None:
    count = 192 * MIB  # beyond all buffers on the way
    async with api(cluster.kubeconfig) as one, to(one, far, f"down {count}") as stream:
        transport = stream.writer.transport
        assert isinstance(transport, forward_transport.ForwardTransport)
        async with asyncio.timeout(20):
            while transport.is_reading():  # noqa: ASYNC110 - a reader that has become full is no event
                await asyncio.sleep(0.01)
        held = len(stream.reader._buffer)  # type: ignore[attr-defined]
        assert held < 4 * MIB
        await asyncio.sleep(0.5)
        assert len(stream.reader._buffer) == held, "it went on"  # type: ignore[attr-defined]
        left = count
        while left:
            left -= len(await asyncio.wait_for(stream.reader.read(MIB), 30))


async def test_fifty_milliseconds_away(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    """No window of the way's own stands in the way: 64 KiB for each round trip would be 1.3 MB/s."""
    clock = asyncio.get_running_loop().time
    async with relayed(cluster, tmp_path, 0.025) as (_, kubeconfig), api(kubeconfig) as one:
        async with to(one, far, "echo") as stream:
            before = clock()
            stream.writer.write(b"x")
            await stream.reader.readexactly(1)
            assert clock() - before >= 0.05
        for first, down in ((f"down {64 * MIB}", True), (f"up {64 * MIB}", False)):
            async with to(one, far, first) as stream:
                before = clock()
                if down:
                    left = 64 * MIB
                    while left:
                        left -= len(await stream.reader.read(MIB))
                else:
                    for _ in range(64):
                        stream.writer.write(bytes(MIB))
                        await stream.writer.drain()
                    assert await stream.reader.readexactly(1) == b"."
                rate = 64 * MIB / (clock() - before) / 1e6
                assert rate > 13, f"{first}: {rate:.0f} MB/s"


# --- credentials and the way there ----------------------------------------------------------------------------------


def plugin(folder: Path, status: dict[str, Any]) -> dict[str, Any]:
    """A user whose plugin answers so, and writes a line for each time it is asked."""
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (folder / "answer").write_text(json.dumps(answer))
    script = folder / "plugin"
    script.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\ncat {folder}/answer\n")
    script.chmod(0o755)
    return {"exec": {"apiVersion": answer["apiVersion"], "command": str(script), "interactiveMode": "Never"}}


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text().splitlines())


async def test_a_plugin_that_gives_certificates(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    view = cluster.json("config", "view", "--raw", "--minify", "--flatten")["users"][0]["user"]
    if "client-certificate-data" not in view:
        pytest.skip("this cluster's administrator has no certificate")
    status = {
        "clientCertificateData": base64.b64decode(view["client-certificate-data"]).decode(),
        "clientKeyData": base64.b64decode(view["client-key-data"]).decode(),
    }
    kubeconfig = changed(cluster, tmp_path, plugin(tmp_path, status))
    async with api(kubeconfig) as one:
        async with to(one, far, "bye") as stream:
            assert await stream.reader.read(-1) == b""
        assert await one.whoami()
        assert asked(tmp_path) == 1


async def test_a_plugins_token_that_lapses_and_one_that_is_withdrawn(
    cluster: Kubectl, far: Far, tmp_path: Path
) -> None:
    """A lapsed one is asked for again before it is used, a withdrawn one after it was refused."""
    cluster("-n", far.namespace, "create", "serviceaccount", "laptop")
    cluster(
        "-n", far.namespace, "create", "rolebinding", "laptop", "--clusterrole=edit",
        f"--serviceaccount={far.namespace}:laptop",
    )  # fmt: skip

    def token() -> str:
        return cluster("-n", far.namespace, "create", "token", "laptop").strip()

    pods = f"/api/v1/namespaces/{far.namespace}/pods"
    lapsed = {"token": token(), "expirationTimestamp": "2001-01-01T00:00:00Z"}
    async with api(changed(cluster, tmp_path, plugin(tmp_path, lapsed))) as one:
        before = asked(tmp_path)
        await one.list(pods)
        async with to(one, far, "bye"):
            assert asked(tmp_path) == before + 2
    async with api(changed(cluster, tmp_path, plugin(tmp_path, {"token": token()}))) as one:
        before = asked(tmp_path)
        # Its account is replaced: tokens of the former one are refused within the API server's 10 s of memory.
        cluster("-n", far.namespace, "delete", "serviceaccount", "laptop")
        cluster("-n", far.namespace, "create", "serviceaccount", "laptop")
        plugin(tmp_path, {"token": token()})
        deadline = time.monotonic() + 30
        while asked(tmp_path) == before:
            assert time.monotonic() < deadline, "the former token is still accepted"
            async with to(one, far, "bye"):
                pass
        assert asked(tmp_path) == before + 1
        assert await one.whoami() == f"system:serviceaccount:{far.namespace}:laptop"


async def test_through_a_proxy(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    """The environment's and the kubeconfig's: every connection goes there, forwards too."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    name = server.removeprefix("https://")
    async with proxy() as between:
        way = f"http://127.0.0.1:{between.port}"
        for kubeconfig, environ in (
            (cluster.kubeconfig, {"HTTPS_PROXY": way}),
            (changed(cluster, tmp_path, proxy_url=way), {}),
        ):
            before = len(between.heads)
            async with api(kubeconfig, environ) as one, to(one, far, "echo") as stream:
                stream.writer.write(b"through")
                assert await asyncio.wait_for(stream.reader.readexactly(7), 10) == b"through"
            assert [head.splitlines()[0] for head in between.heads[before:]] == [
                f"CONNECT {name} HTTP/1.1"
            ] * 2
        before = len(between.heads)
        async with (
            socks() as other,
            api(cluster.kubeconfig, {"HTTPS_PROXY": f"socks5://127.0.0.1:{other.port}"}) as one,
            to(one, far, "bye"),
        ):
            assert other.heads == [name] * 2
        host = name.partition(":")[0]
        async with (
            api(cluster.kubeconfig, {"HTTPS_PROXY": way, "NO_PROXY": host}) as one,
            to(one, far, "bye"),
        ):
            assert len(between.heads) == before


async def test_through_a_proxy_that_speaks_tls(
    cluster: Kubectl, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS inside of TLS, for calls and for forwards; octets enough that records of both are cut anywhere."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "proxys.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "proxys.pem"))
    sent = os.urandom(3_000_000)
    async with (
        proxy(tls=context) as between,
        api(cluster.kubeconfig, {"HTTPS_PROXY": f"https://127.0.0.1:{between.port}"}) as one,
        to(one, far, "echo") as stream,
    ):
        reading = asyncio.create_task(stream.reader.readexactly(len(sent)))
        stream.writer.write(sent)
        assert await asyncio.wait_for(reading, 30) == sent
        assert len(between.heads) == 2
        monkeypatch.delenv("SSL_CERT_FILE")
    async with proxy(tls=context) as between:
        with pytest.raises(Refusal, match="certificate of the proxy"):
            async with api(cluster.kubeconfig, {"HTTPS_PROXY": f"https://127.0.0.1:{between.port}"}):
                pass


# --- the way is cut -------------------------------------------------------------------------------------------------


def marked(namespace: str, number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"mark-{number}", "namespace": namespace}, "data": {"n": str(number)}}


async def test_the_api_server_is_restarted(cluster: Kubectl, far: Far) -> None:
    """A watch goes on without missing or doubling a change; a forward ends, and the next one works."""
    maps = f"/api/v1/namespaces/{far.namespace}/configmaps"
    seen: asyncio.Queue[str] = asyncio.Queue()
    async with api(cluster.kubeconfig) as one, to(one, far, "echo") as stream:
        _, version = await one.list(maps)

        async def watch() -> None:
            async with aclosing(one.watch(maps, version)) as events:
                async for kind, found in events:
                    if found["metadata"]["name"].startswith("mark-"):
                        seen.put_nowait(f"{kind} {found['metadata']['name']}")

        watching = asyncio.create_task(watch())
        await one.create(maps, marked(far.namespace, 1))
        assert await asyncio.wait_for(seen.get(), 10) == "ADDED mark-1"
        cut = asyncio.create_task(stream.reader.read(1))
        await asyncio.to_thread(faults.restart_api_server)
        with suppress(OSError):
            assert await asyncio.wait_for(cut, 20) == b"", "the forward outlived its API server"
        await one.create(maps, marked(far.namespace, 2))
        assert await asyncio.wait_for(seen.get(), 30) == "ADDED mark-2"
        await one.delete(f"{maps}/mark-1")
        assert await asyncio.wait_for(seen.get(), 10) == "DELETED mark-1"
        assert seen.empty()
        watching.cancel()
        async with to(one, far, "echo") as again:
            again.writer.write(b"back")
            assert await asyncio.wait_for(again.reader.readexactly(4), 10) == b"back"


async def test_frozen_nothing_is_lost(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    """A lid that is closed: no octets and no end, until it is opened."""
    async with (
        relayed(cluster, tmp_path) as (relay, kubeconfig),
        api(kubeconfig) as one,
        to(one, far, "echo") as stream,
    ):
        stream.writer.write(b"before")
        assert await stream.reader.readexactly(6) == b"before"
        relay.freeze()
        stream.writer.write(b"meanwhile")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.reader.read(1), 1)
        await relay.heal()
        assert await asyncio.wait_for(stream.reader.readexactly(9), 10) == b"meanwhile"


async def test_a_close_on_a_dead_way_ends(
    cluster: Kubectl, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With octets that will never leave: not after a quarter of an hour, which is when TCP gives up."""
    monkeypatch.setattr(forward_transport, "LAST_WORDS", 0.3)
    async with relayed(cluster, tmp_path) as (relay, kubeconfig), api(kubeconfig) as one:
        stream = await forward(one, far.namespace, far.pod, PORT)
        relay.in_flight = 0
        relay.freeze()
        stream.writer.write(bytes(32 * MIB))
        transport = stream.writer.transport
        assert transport.get_write_buffer_size() > 8 * MIB
        stream.writer.close()
        await asyncio.wait_for(stream.writer.wait_closed(), 5)


async def test_cut_is_an_end_with_a_sentence(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    async with relayed(cluster, tmp_path) as (relay, kubeconfig), api(kubeconfig) as one:
        async with to(one, far, "echo") as stream:
            stream.writer.write(b"x")
            await stream.reader.readexactly(1)
            relay.cut()
            with pytest.raises(OSError, match="the port-forward was cut"):
                await asyncio.wait_for(stream.reader.read(1), 5)
        with pytest.raises(KubeError) as gone:
            await forward(one, far.namespace, far.pod, PORT)
        assert gone.value.unreachable
        assert "Connection refused" in str(gone.value)
        await relay.heal()
        async with to(one, far, "bye") as stream:
            assert await stream.reader.read(-1) == b""


# --- the bridge's legs ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def legs(cluster: Cluster, place: Far, folder: Path) -> AsyncIterator[tuple[Tunnel, str]]:
    """A tunnel that listens, and where."""

    async def where() -> Far:
        return place

    tunnel = Tunnel(cluster, where, "agent 0")
    path = str(folder / "0.sock")
    server = await asyncio.get_running_loop().create_unix_server(tunnel.leg, path)
    try:
        yield tunnel, path
    finally:
        server.close()
        await tunnel.close()
        assert tunnel.legs == 0


async def test_legs_carry_octets_and_ends(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    sent = os.urandom(4 * MIB)
    async with api(cluster.kubeconfig) as one, legs(one, far, tmp_path) as (tunnel, path):
        assert stat.S_ISSOCK(os.stat(path).st_mode)

        async def echoed() -> None:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"echo\n" + sent)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(echoed() for _ in range(5)))
        assert (tunnel.up, tunnel.down) == (5 * (len(sent) + 5), 5 * len(sent))
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"bye\n")
        assert await asyncio.wait_for(reader.read(-1), 10) == b"", "the far end's end is the leg's"
        writer.close()
        assert tunnel.last_error == ""


async def test_a_leg_that_is_stuck_holds_no_other(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    """One whose bridge does not read, one whose agent does not; what they hold is bounded."""
    async with api(cluster.kubeconfig) as one, legs(one, far, tmp_path) as (tunnel, path):
        idle_reader, idle = await asyncio.open_unix_connection(path, limit=65_536)
        idle.write(f"down {256 * MIB}\n".encode())
        _, held = await asyncio.open_unix_connection(path)
        held.write(b"hold\n")

        async def fill() -> None:
            while True:
                held.write(bytes(MIB))
                await held.drain()

        filling = asyncio.create_task(fill())
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"echo\n")
        for _ in range(200):
            writer.write(bytes(65_536))
            await asyncio.wait_for(reader.readexactly(65_536), 10)
        filling.cancel()
        assert tunnel.legs == 3
        await idle_reader.readexactly(MIB)
        for one_writer in (idle, held, writer):
            one_writer.transport.abort()


async def test_no_agent_is_said_and_the_leg_is_closed(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    for place, why in (
        (Far(far.namespace, "gone"), "not found"),
        (Far(far.namespace, "far", 7999), "nobody listens"),
    ):
        folder = tmp_path / place.pod
        folder.mkdir()
        async with api(cluster.kubeconfig) as one, legs(one, place, folder) as (tunnel, path):
            for _ in range(2):
                reader, writer = await asyncio.open_unix_connection(path)
                with suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(-1), 10) == b""
                writer.close()
            assert why in tunnel.last_error


async def test_cut_legs_are_dialled_again(cluster: Kubectl, far: Far, tmp_path: Path) -> None:
    async with (
        relayed(cluster, tmp_path) as (relay, kubeconfig),
        api(kubeconfig) as one,
        legs(one, far, tmp_path) as (tunnel, path),
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"echo\nx")
        await reader.readexactly(1)
        relay.cut()
        assert await asyncio.wait_for(reader.read(-1), 5) == b""
        writer.close()
        assert tunnel.last_error
        await relay.heal()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"echo\ny")
        assert await asyncio.wait_for(reader.readexactly(1), 10) == b"y"
        assert tunnel.last_error == ""
        tunnel.cut()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 5) == b""
        writer.close()
