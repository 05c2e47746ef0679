"""A cut between bridge and agent, of any part of the way and at any time: the app notices nothing but a pause."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from links.link import CallFailed
from runner import images
from tests.net.cut.place import Place, placed, target
from wire.messages import AppPort, Attach, LinkLost, Mirroring, Ping, Proto

pytestmark = [pytest.mark.net, pytest.mark.native, pytest.mark.engine]

SIZE = 30_000_000


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    if os.geteuid() != 0:
        pytest.skip("the agent needs root")
    made = docker.from_env(timeout=60)
    yield made
    made.close()


@pytest.fixture
async def place(client: docker.DockerClient, tmp_path: Path) -> AsyncIterator[Place]:
    with target(client, images.base(client, lambda line: None)) as (container, uid):
        async with placed(container, uid, tmp_path) as made:
            yield made


async def stream(sink: socket.socket, octets: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sink, octets)


async def digest(source: socket.socket, size: int) -> str:
    """Of so many octets from there."""
    loop, whole, got = asyncio.get_running_loop(), hashlib.sha256(), 0
    while got < size:
        octets = await loop.sock_recv(source, min(1 << 20, size - got))
        assert octets, f"it ended after {got} octets"
        whole.update(octets)
        got += len(octets)
    return whole.hexdigest()


async def cuts(place: Place, times: int) -> None:
    """At moments that are in the middle of everything."""
    for _ in range(times):
        await asyncio.sleep(random.uniform(0.02, 0.2))
        place.way.cut()
        await asyncio.sleep(random.uniform(0.0, 0.3))
        await place.way.heal()
        assert (await place.back(data=True)).resumed


async def test_streams_go_on_where_they_were_cut(place: Place) -> None:
    up, down = os.urandom(SIZE), os.urandom(SIZE)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(90):
        app, served = await place.out(stack)
        *_, sent, got = await asyncio.gather(
            cuts(place, 5),
            stream(app, up),
            stream(served, down),
            digest(served, SIZE),
            digest(app, SIZE),
        )
    assert sent == hashlib.sha256(up).hexdigest()
    assert got == hashlib.sha256(down).hexdigest()


async def test_what_is_mirrored_goes_on_too(place: Place) -> None:
    """And is not begun anew: the client's connection is seen once, whole."""
    loop = asyncio.get_running_loop()
    octets = os.urandom(3_000_000)
    with place.inside_target("0.0.0.0", 8080) as listener, place.app_socket() as app:
        app.bind(("0.0.0.0", 8080))
        app.listen()
        async with asyncio.timeout(30):
            wanted = AppPort(Proto.TCP, 8080, 8080)
            assert await anext(aiter(place.runner.incoming())) == Mirroring(0, (wanted,))
            ip = place.container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            with socket.socket() as caller:
                caller.setblocking(False)
                connecting = asyncio.create_task(loop.sock_connect(caller, (ip, 8080)))
                served, _ = await loop.sock_accept(listener)
                await connecting
                mirrored, peer = await loop.sock_accept(app)
                with served, mirrored:
                    assert peer == caller.getsockname()
                    for at in range(0, len(octets), 1_000_000):
                        part = octets[at : at + 1_000_000]
                        whole = hashlib.sha256(part).hexdigest()
                        reading = asyncio.create_task(digest(mirrored, len(part)))
                        _, real = await asyncio.gather(stream(caller, part), digest(served, len(part)))
                        assert real == whole
                        place.way.cut()
                        await place.told(LinkLost)
                        await place.way.heal()
                        assert (await place.back(data=True)).resumed
                        assert await reading == whole
                    # Bridge and founder have been cut off too; nothing of it ended what the agent mirrors.
                    app.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        app.accept()


async def test_the_founder_comes_back_to_its_session(place: Place) -> None:
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(30):
        app, served = await place.out(stack)
        place.way.cut()
        await place.runner.ended
        await place.way.heal()
        again, welcome = await place.found()
        async with again:
            assert welcome.resumed
            assert await anext(aiter(again.incoming())) == Mirroring(0, ())
            assert (await place.back(data=True)).resumed
            await stream(app, b"still here")
            assert await asyncio.get_running_loop().sock_recv(served, 100) == b"still here"


async def test_another_agent_knows_nothing(place: Place) -> None:
    """Its pod was deleted: connections are reset when the next one answers, new ones work, and the app runs on."""
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(60):
        app, _ = await place.out(stack)
        await place.kill_agent()
        await place.told(LinkLost)
        await place.start_agent()
        again, welcome = await place.found()
        async with again:
            assert not welcome.resumed
            await place.attach(again)
            assert not (await place.back(data=True)).resumed
            with pytest.raises(OSError, match=r"reset|unreachable|Network dropped"):
                await digest(app, 1)
            newer, served = await place.out(stack)
            await stream(newer, b"new")
            assert await asyncio.get_running_loop().sock_recv(served, 100) == b"new"


async def test_a_frozen_way_is_noticed_and_mended(place: Place) -> None:
    """No end is heard of, as when a laptop's lid is closed: both sides know by the silence."""
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(100):
        app, served = await place.out(stack)
        place.way.freeze()
        await stream(app, b"while nothing moves")
        await place.told(LinkLost)
        await place.told(LinkLost)
        await place.runner.ended
        place.way.cut()
        await place.way.heal()
        again, welcome = await place.found()
        async with again:
            assert welcome.resumed
            assert (await place.back(data=True)).resumed
            assert await asyncio.get_running_loop().sock_recv(served, 100) == b"while nothing moves"


async def test_a_container_of_another_pod_is_not_entered(place: Place, client: docker.DockerClient) -> None:
    with (
        target(client, images.base(client, lambda line: None)) as (other, uid),
        pytest.raises(CallFailed, match=f"is of pod {uid}, which is not one this agent was made for"),
    ):
        await place.runner.call(Attach(0, 1, other.id))
    await place.runner.call(Ping(0))
