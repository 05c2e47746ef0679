"""The bridge daemon in a namespace of its own, with an agent and an engine played by the test: what it says
and sets up.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

import pytest

from links.handshake import adopt
from links.link import CallFailed, Link
from tests.net.layer.stage import IDENTITY, OWN, SECRET, Stage
from wire.messages import (
    Address,
    AppListens,
    AppPort,
    Configured,
    Done,
    Identity,
    InitHello,
    LinkBack,
    LinkKind,
    LinkLost,
    Listening,
    Port,
    Retarget,
    Start,
    User,
)

pytestmark = pytest.mark.net


async def test_configured_means_everything_stands(stage: Stage) -> None:
    assert isinstance(await stage.runner.call(stage.configure()), Configured)
    assert {hello.kind for hello in stage.agent.hellos} == {LinkKind.CONTROL, LinkKind.DATA}
    assert {(hello.session, hello.secret, hello.founder) for hello in stage.agent.hellos} == {
        ("k7f2", SECRET, False)
    }
    assert (await stage.called("addresses"))[1] == [OWN.ip]
    assert (await stage.called("link_add"))[1] == 1
    assert (await stage.called("listeners"))[1] == 50
    assert "198.18.5.2/16" in stage.space.run(["ip", "-4", "address", "show", "tun0"]).stdout
    assert "default dev tun0" in stage.space.run(["ip", "route"]).stdout
    assert "127.0.0.11" in stage.space.nft("list set inet mirror_run resolvers")
    assert (stage.tmp / "hosts").read_bytes() == IDENTITY.hosts
    assert (stage.tmp / "resolv.conf").read_bytes() == IDENTITY.resolv_conf


async def test_the_door_answers_the_first_alone(stage: Stage) -> None:
    await stage.runner.call(stage.configure())
    with stage.space.inside():
        first, second = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    for sock in (first, second):
        sock.connect("\0mirror-run/door")
        sock.setblocking(False)
    async with Link(*await adopt(first), name="door") as init:
        await init.send(InitHello(1))
        answer = await anext(init.incoming())
        assert answer == Start((b"true",), (b"A=1",), User(1000, 1000, (), "ada", "/home/ada"), "/")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(second, 1) == b""
        second.close()
        assert not init.ended.done()
        await stage.runner.close()
        async with asyncio.timeout(2):
            await init.ended


async def test_listening_reaches_rules_agent_and_runner(stage: Stage) -> None:
    mapped = (AppPort(6, 8080, 80),)
    await stage.runner.call(stage.configure(mapped=mapped, ignored=(9229,), declared=(Port(6, 3000),)))
    assert await stage.agent.heard.get() == Listening(())
    stage.report(
        "listening", [[6, 3000, False, 10], [6, 8080, True, 4], [6, 9229, False, 4], [17, 40000, False, 4]]
    )
    assert await stage.told() == AppListens((Port(6, 3000), Port(6, 8080, True), Port(6, 9229)))
    assert await stage.agent.heard.get() == Listening(
        (AppPort(6, 3000, 3000, True), AppPort(6, 8080, 80, True))
    )
    assert "{ 3000, 8080, 9229 }" in stage.space.nft("list set inet mirror_run tcp_open")
    assert "{ 8080 }" in stage.space.nft("list set inet mirror_run tcp_loop")
    stage.report("listening", [])
    assert await stage.told() == AppListens(())
    assert "elements" not in stage.space.nft("list set inet mirror_run tcp_open")


async def test_lost_links_are_dialled_again_and_told(stage: Stage) -> None:
    await stage.runner.call(stage.configure())
    stage.report("listening", [[6, 80, False, 10]])
    assert await stage.told() == AppListens((Port(6, 80),))
    now = Listening((AppPort(6, 80, 80),))
    assert [await stage.agent.heard.get(), await stage.agent.heard.get()] == [Listening(()), now]
    control = await stage.agent.controls.get()
    await control.close("the agent goes")
    assert await stage.told() == LinkLost("the agent goes")
    await stage.agent.controls.get()
    assert await stage.told() == LinkBack(0, data=False)
    assert await stage.agent.heard.get() == now
    await stage.called("link_add")
    stage.report("link-gone", 1, "cut")
    assert await stage.told() == LinkLost("the agent's data link: cut", 0, data=True)
    assert (await stage.called("link_del"))[1] == 1
    assert (await stage.called("link_add"))[1] == 2
    assert (await stage.called("link_primary"))[1:] == [2, 0]
    assert await stage.told() == LinkBack(0, data=True)


async def test_no_agent_is_a_failure_with_a_sentence(stage: Stage) -> None:
    with pytest.raises(CallFailed, match=r"the agent: .*nowhere: No such file"):
        await stage.runner.call(stage.configure(agent_socket=str(stage.tmp / "nowhere")))


async def test_retarget_prefers_the_new_address_and_keeps_the_old(stage: Stage) -> None:
    await stage.runner.call(stage.configure())
    new = Address(socket.inet_aton("198.18.5.9"), 16)
    assert isinstance(await stage.runner.call(Retarget(0, Identity("api", (new,), b"", b""))), Done)
    shown = stage.space.run(["ip", "-4", "address", "show", "tun0"]).stdout
    assert "198.18.5.9/16" in shown
    assert "198.18.5.2/32" in shown
    for to in ("198.18.0.1", "198.19.0.1"):
        assert "src 198.18.5.9" in stage.space.run(["ip", "route", "get", to]).stdout
    assert "198.18.5.9" in stage.space.nft("list set inet mirror_run own4")
    assert (stage.tmp / "hosts").read_bytes() == IDENTITY.hosts


async def test_an_old_address_goes_when_no_socket_uses_it(stage: Stage) -> None:
    """And not before: a connection whose own address is taken away hangs instead of ending."""
    await stage.runner.call(stage.configure())
    with stage.space.inside():
        used = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with used:
        used.bind(("198.18.5.2", 0))
        await retarget(stage, "198.18.5.9")
        await retarget(stage, "198.18.5.10")
        await addresses(stage, "198.18.5.10/16", "198.18.5.2/32")
    await addresses(stage, "198.18.5.10/16")


async def test_an_address_that_comes_back_stays(stage: Stage) -> None:
    await stage.runner.call(stage.configure())
    await retarget(stage, "198.18.5.9")
    await retarget(stage, "198.18.5.2")
    await addresses(stage, "198.18.5.2/16")
    await retarget(stage, "198.18.5.9")
    await addresses(stage, "198.18.5.9/16")


async def retarget(stage: Stage, ip: str) -> None:
    new = Identity("api", (Address(socket.inet_aton(ip), 16),), b"", b"")
    assert isinstance(await stage.runner.call(Retarget(0, new)), Done)


async def addresses(stage: Stage, *wanted: str) -> None:
    """Until tun0 has these and no others. It is the bridge's own time (2 s) that passes."""
    async with asyncio.timeout(10):
        while True:
            lines = stage.space.run(["ip", "-4", "-o", "address", "show", "tun0"]).stdout.splitlines()
            if {line.split()[3] for line in lines} == set(wanted):
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["eof", "term", "goodbye"])
async def test_it_ends_within_two_seconds(stage: Stage, how: str) -> None:
    await stage.runner.call(stage.configure())
    assert stage.process.stdin is not None
    match how:
        case "eof":
            stage.process.stdin.close()
        case "term":
            stage.process.send_signal(signal.SIGTERM)
        case _:
            await stage.runner.close("enough")
    async with asyncio.timeout(2):
        assert await stage.process.wait() == 0
    assert "tun0" not in stage.space.run(["ip", "link"]).stdout
