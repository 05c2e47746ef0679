"""The agent's server on real sockets: who gets in, who takes over, what outlives a cut. The engine is played."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("agent._engine", reason="make native")

from agent import data_link, founder, server, threshold
from agent.account import Account, Outgoing
from agent.engine import LinkCut, LinkGone
from agent.warrants import RIGHTS, Limits, Refused, Warrant
from links.link import CallFailed, Dismissed, Link, LinkEnded
from tests.agent import stage as played
from tests.agent.stage import CONTAINER, SECRET, Stage, staged
from wire import frames
from wire.messages import (
    AppPort,
    Attach,
    Attached,
    Counters,
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
    Ping,
    Proto,
    TargetGone,
)

pytestmark = pytest.mark.native

HTTP = AppPort(Proto.TCP, 8080, 80)
NO_SUCH = "no session of that name has that secret"


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(threshold, "PENALTY", 0.01)
    async with staged(monkeypatch) as made:
        yield made


async def heard(link: Link) -> Message:
    async with asyncio.timeout(5):
        return await anext(aiter(link.incoming()))


async def gone(link: Link) -> str:
    async with asyncio.timeout(5):
        return await link.ended


async def cut(link: Link) -> None:
    """As when a tunnel breaks: not a word."""
    link._writer.transport.abort()
    await gone(link)


async def until(true: object) -> None:
    """The server needs some turns of the loop more."""
    async with asyncio.timeout(5):
        while not true():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_session_on_a_port(stage: Stage) -> None:
    async with await stage.founder() as runner:
        attached = await runner.call(Attach(0, 3, CONTAINER, "web-1"))
        assert isinstance(attached, Attached)
        assert (attached.target, attached.pid, attached.identity) == (3, 4711, played.IDENTITY)
        assert await runner.call(GetEnviron(0, 3)) == Environ(2, (b"SECRET=1",), "/srv")
        assert isinstance(await runner.call(GetCounters(0)), CountersAre)
        await runner.call(Detach(0, 3))
        with pytest.raises(CallFailed, match="there is no target 3"):
            await runner.call(GetEnviron(0, 3))
    await until(lambda: not stage.engine.sessions)


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": bytes(32)},
        {"secret": bytes(32), "founder": True},
        {"secret": bytes(32), "founder": True, "session": "other"},
        {"session": "other"},
        {"session": ""},
    ],
)
async def test_the_wrong_secret_is_told_one_sentence(stage: Stage, wrong: dict[str, object]) -> None:
    async with await stage.founder() as runner:
        for kind in (stage.control, stage.data):
            with pytest.raises(LinkEnded) as refused:
                await kind(**wrong)  # type: ignore[operator]
            assert refused.value.reason == NO_SUCH
        await runner.call(Ping(0))


async def test_without_a_session_the_sentence_is_the_same(stage: Stage) -> None:
    with pytest.raises(LinkEnded) as refused:
        await stage.control()
    assert refused.value.reason == NO_SUCH


@pytest.mark.parametrize("first", [Ping(1), Hello(9, 8, "future", 1, "k7f2", bytes(32))])
async def test_nothing_is_said_before_the_proof(stage: Stage, first: Message) -> None:
    """Not which protocol is spoken here either."""
    reader, writer = await stage.streams()
    writer.write(frames.pack(first))
    octets = await asyncio.wait_for(reader.read(-1), 5)
    writer.close()
    told = frames.FrameReader()
    told.feed(octets)
    assert octets == b"" or NO_SUCH in str(told.take())


async def test_who_proves_itself_is_told_of_versions(stage: Stage) -> None:
    reader, writer = await stage.streams()
    writer.write(frames.pack(Hello(9, 8, "future 2", 1, "k7f2", SECRET, founder=True)))
    octets = await asyncio.wait_for(reader.read(-1), 5)
    writer.close()
    told = frames.FrameReader()
    told.feed(octets)
    assert "older than future 2" in str(told.take())
    assert not stage.engine.sessions


async def test_failed_proofs_are_counted_and_said_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        with pytest.raises(LinkEnded):
            await stage.control()
    said = [one for one in caplog.records if "could not prove" in one.getMessage()]
    assert len(said) == 1
    assert SECRET.hex() not in caplog.text


async def test_the_silent_make_room(stage: Stage) -> None:
    """As many as there is room for say nothing: another still gets in, and the one silent longest is out."""
    silent = [await stage.streams() for _ in range(threshold.SILENT + 3)]
    async with asyncio.timeout(5), await stage.founder() as runner:
        await runner.call(Ping(0))
        for reader, _ in silent[:3]:
            assert await reader.read(1) == b""
    for _, writer in silent:
        writer.close()


async def test_a_founder_that_says_goodbye_ends_its_session(stage: Stage) -> None:
    """At once, whatever its patience: the target gets its traffic back."""
    async with await stage.founder(patience=60) as runner, await stage.control() as bridge:
        await runner.close("the command has ended")
        assert await gone(bridge) == "the session has ended"
    assert not stage.engine.sessions


async def test_a_founder_without_patience_ends_it_too(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await cut(runner)
        assert await gone(bridge) == "the session has ended"


async def test_a_cut_founder_takes_its_session_over(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner, await stage.control() as bridge:
        await runner.call(Attach(0, 0, CONTAINER))
        await runner.call(Attach(0, 1, CONTAINER))
        _, _, data = await stage.data()
        await bridge.send(Listening((HTTP,)))
        assert {await heard(runner), await heard(runner)} == {Mirroring(0, (HTTP,)), Mirroring(1, (HTTP,))}
        before = stage.link()
        await cut(runner)
        played.FOUND[1].end()
        await until(lambda: len(stage.engine.targets) == 1)
        async with await stage.founder(patience=60) as again:
            assert [await heard(again), await heard(again)] == [TargetGone(1), Mirroring(0, (HTTP,))]
            assert stage.link() is before
            assert len(stage.engine.mirrored) == 2
            assert isinstance(await again.call(Attach(0, 1, CONTAINER)), Attached)
            assert await heard(again) == Mirroring(1, (HTTP,))
            await bridge.call(Ping(0))
        data.close()


async def test_a_link_that_is_not_cut_is_taken_over_too(stage: Stage) -> None:
    """The agent may hear of a cut later than the runner."""
    async with await stage.founder(patience=60) as first, await stage.founder(patience=60) as second:
        assert await gone(first) == "another link of the runner took over"
        await second.call(Ping(0))
        assert len(stage.engine.sessions) == 1


async def test_patience_has_an_end(stage: Stage) -> None:
    async with await stage.founder(patience=1) as runner, await stage.control() as bridge:
        await cut(runner)
        assert await gone(bridge) == "the runner did not come back within 1 s"


async def test_what_the_app_wants_outlives_its_link(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner:
        await runner.call(Attach(0, 0, CONTAINER))
        _, _, data = await stage.data(keeps=True)
        async with await stage.control() as bridge:
            await bridge.send(Listening((HTTP,)))
            assert await heard(runner) == Mirroring(0, (HTTP,))
            await cut(bridge)
        async with await stage.control() as again:
            await again.send(Listening((HTTP,)))
            await again.call(Ping(0))
            await again.send(Listening(()))
            assert await heard(runner) == Mirroring(0, ())
        data.close()


async def test_a_bridge_that_says_goodbye_wants_nothing_more(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner:
        await runner.call(Attach(0, 0, CONTAINER))
        _, _, data = await stage.data(keeps=True)
        bridge = await stage.control()
        async with bridge:
            await bridge.send(Listening((HTTP,)))
            assert await heard(runner) == Mirroring(0, (HTTP,))
            await bridge.close("the app has ended")
        assert await heard(runner) == Mirroring(0, ())
        data.close()


# --- data links ---


async def test_a_data_link_goes_on_where_it_was_cut(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner, await stage.control() as bridge:
        await runner.call(Attach(0, 0, CONTAINER))
        await bridge.send(Listening((HTTP,)))
        welcome, _, first = await stage.data(keeps=True)
        assert (welcome.resumed, welcome.received) == (False, 0)
        assert await heard(runner) == Mirroring(0, (HTTP,))
        link = stage.link()
        link.received = 1234
        stage.engine.report(LinkCut(1, link.number, "reset"))
        welcome, _, second = await stage.data(keeps=True, resumes=True, received=77)
        assert (welcome.resumed, welcome.received) == (True, 1234)
        await until(lambda: link.peer_received == 77)
        assert stage.link() is link
        await runner.call(Ping(0))
        assert len(stage.engine.mirrored) == 1, "what was mirrored goes on"
        first.close()
        second.close()


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_link_without_a_past_begins_anew(stage: Stage, keeps: bool) -> None:
    async with await stage.founder(patience=60) as runner, await stage.control() as bridge:
        await runner.call(Attach(0, 0, CONTAINER))
        await bridge.send(Listening((HTTP,)))
        _, _, first = await stage.data(keeps=keeps)
        assert await heard(runner) == Mirroring(0, (HTTP,))
        number = stage.link().number
        # A bridge that dials without resuming has forgotten, and one cannot resume what does not keep.
        welcome, _, second = await stage.data(keeps=keeps, resumes=not keeps, received=5)
        assert not welcome.resumed
        await until(lambda: stage.link().number != number)
        assert await heard(runner) == Mirroring(0, (HTTP,)), "its channels were the former link's"
        first.close()
        second.close()


async def test_a_link_for_files_alone_is_beside_the_other(stage: Stage) -> None:
    async with await stage.founder(patience=60):
        _, _, first = await stage.data(keeps=True)
        _, _, files = await stage.data(LinkKind.FILES, keeps=True)
        await until(lambda: stage.engine.filing[1] is not None and stage.engine.sessions[1] is not None)
        link, other = stage.engine.filing[1], stage.link()
        assert link is not None
        link.received = 1234
        stage.engine.report(LinkCut(1, link.number, "reset"))
        welcome, _, again = await stage.data(LinkKind.FILES, keeps=True, resumes=True, received=77)
        assert (welcome.resumed, welcome.received) == (True, 1234)
        await until(lambda: link.peer_received == 77)
        assert (stage.engine.filing[1], stage.link()) == (link, other)
        for writer in (first, files, again):
            writer.close()


async def test_what_cannot_be_resumed_is_given_up(stage: Stage) -> None:
    async with await stage.founder(patience=60):
        _, _, first = await stage.data(keeps=True)
        await until(lambda: any(stage.engine.sessions.values()))
        stage.engine.forgets = True
        _, reader, second = await stage.data(keeps=True, resumes=True, received=10**15)
        assert await reader.read(1) == b""
        stage.engine.forgets = False
        welcome, _, third = await stage.data(keeps=True, resumes=True)
        assert not welcome.resumed
        for writer in (first, second, third):
            writer.close()


async def test_a_cut_link_is_waited_for_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_link, "GIVEN_UP_AFTER", 0.05)
    async with await stage.founder(patience=60):
        _, _, first = await stage.data(keeps=True)
        await until(lambda: any(stage.engine.sessions.values()))
        stage.engine.report(LinkCut(1, stage.link().number, "reset"))
        await until(lambda: stage.engine.sessions == {1: None})
        first.close()


async def test_a_link_that_has_gone_is_no_news_of_the_next(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner, await stage.control() as bridge:
        await runner.call(Attach(0, 0, CONTAINER))
        await bridge.send(Listening((HTTP,)))
        _, _, first = await stage.data()
        assert await heard(runner) == Mirroring(0, (HTTP,))
        stage.engine.report(LinkGone(1, stage.link().number - 1, "long ago"))
        await runner.call(Ping(0))
        played.FOUND[0].end()
        assert await heard(runner) == TargetGone(0)
        first.close()


# --- warrants ---


class Narrow(Warrant):
    """A right to be shown traffic, and nothing else; until it is taken away."""

    namespace = "shop"
    rights = frozenset({"mirror"})
    limits = Limits(connections=7, bytes_per_second=1000, metadata_addresses=False)

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.entered_pods: list[str] = []
        self.got: list[tuple[str, tuple[AppPort, ...]]] = []
        self.account: Account | None = None

    async def void(self) -> str:
        await self.over.wait()
        return "MirrorSession shop/k7f2 was deleted"

    def entered(self, container: str, pod: str) -> None:
        self.entered_pods.append(f"+{pod}")

    def left(self, container: str, pod: str) -> None:
        self.entered_pods.append(f"-{pod}")

    def gets(
        self, container: str, pod: str, mirrored: tuple[AppPort, ...], stolen: tuple[AppPort, ...]
    ) -> None:
        assert not stolen
        self.got.append((pod, mirrored))

    async def ended(self, account: Account) -> None:
        self.account = account


class NarrowWarrants:
    """Gives that one, or refuses."""

    def __init__(self) -> None:
        self.warrants: list[Narrow] = []
        self.refuses = ""
        self.kind = Narrow

    async def warrant(self, hello: Hello) -> Warrant:
        if self.refuses:
            raise Refused(self.refuses)
        self.warrants.append(self.kind())
        return self.warrants[-1]

    async def tend(self) -> None:
        """Nothing."""


async def test_a_session_does_what_its_warrant_says(monkeypatch: pytest.MonkeyPatch) -> None:
    warrants = NarrowWarrants()
    async with staged(monkeypatch, warrants) as stage, await stage.founder(patience=60) as runner:
        wanted = {"outgoing": False, "metadata": False, "connections": 7} | dict.fromkeys(
            ("mirror_rate", "outgoing_rate"), 1000
        )
        assert stage.engine.allowed[1] == wanted
        await runner.call(Attach(0, 0, CONTAINER, "cart-1"))
        # Held to a rate, files and packets share a link.
        with pytest.raises(Dismissed, match="files go by its data link"):
            await stage.data(LinkKind.FILES)
        with pytest.raises(CallFailed) as failed:
            await runner.call(GetEnviron(0, 0))
        assert failed.value.reason == "no environment: you lack create mirrorsessions/env in shop"
        warrants.warrants[0].over.set()
        assert await gone(runner) == "MirrorSession shop/k7f2 was deleted"
        await until(lambda: warrants.warrants[0].account)
        account = warrants.warrants[0].account
        assert account is not None
        assert account.reason == "MirrorSession shop/k7f2 was deleted"
        assert (account.mirrored.connections, account.used) == (1, {"mirror"})
        assert 0 < account.seconds < 60
        assert warrants.warrants[0].entered_pods == ["+cart-1", "-cart-1"]


async def test_without_the_right_nothing_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    warrants = NarrowWarrants()
    monkeypatch.setattr(Narrow, "rights", frozenset({"outgoing", "env"}))
    async with (
        staged(monkeypatch, warrants) as stage,
        await stage.founder() as runner,
        await stage.control() as bridge,
    ):
        await stage.data()
        await runner.call(Attach(0, 0, CONTAINER, "cart-1"))
        assert isinstance(await runner.call(GetEnviron(0, 0)), Environ)
        await bridge.send(Listening((HTTP,)))
        await bridge.call(Ping(0))
        await runner.call(Ping(0))
        assert not stage.engine.mirrored


@pytest.mark.parametrize(
    ("mirrored", "went", "read", "asks", "used"),
    [
        (Counters(), Outgoing(), (), False, set()),
        (Counters(), Outgoing(), (), True, {"env"}),
        (Counters(datagrams=1), Outgoing(), (), False, {"mirror"}),
        (Counters(connections=2), Outgoing(opened=1, sent=5, received=7), (), False, {"mirror", "outgoing"}),
        (Counters(stolen=1), Outgoing(opened=1), (), True, {"steal", "outgoing", "env"}),
        (Counters(skipped=3, limited=1), Outgoing(slowed=1), (), False, set()),
        (Counters(), Outgoing(), ("files", "files-write"), True, {"files", "files-write", "env"}),
    ],
)
async def test_the_rights_that_were_used(
    monkeypatch: pytest.MonkeyPatch,
    mirrored: Counters,
    went: Outgoing,
    read: tuple[str, ...],
    asks: bool,
    used: set[str],
) -> None:
    """Not those that it had."""
    warrants = NarrowWarrants()
    monkeypatch.setattr(Narrow, "rights", RIGHTS)
    async with staged(monkeypatch, warrants) as stage, await stage.founder() as runner:
        stage.engine.counted, stage.engine.went, stage.engine.read = mirrored, went, frozenset(read)
        await runner.call(Attach(0, 0, CONTAINER, "cart-1"))
        if asks:
            await runner.call(GetEnviron(0, 0))
        await runner.close("enough")
        await until(lambda: warrants.warrants[0].account)
        account = warrants.warrants[0].account
        assert account is not None
        assert (account.used, account.mirrored, account.outgoing) == (used, mirrored, went)


async def test_an_environment_that_was_refused_was_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    warrants = NarrowWarrants()
    async with staged(monkeypatch, warrants) as stage, await stage.founder() as runner:
        await runner.call(Attach(0, 0, CONTAINER, "cart-1"))
        with pytest.raises(CallFailed):
            await runner.call(GetEnviron(0, 0))
        await runner.close("enough")
        await until(lambda: warrants.warrants[0].account)
        account = warrants.warrants[0].account
        assert account is not None
        assert "env" not in account.used


async def test_the_warrant_is_told_what_the_app_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    warrants = NarrowWarrants()
    async with (
        staged(monkeypatch, warrants) as stage,
        await stage.founder() as runner,
        await stage.control() as bridge,
    ):
        await stage.data()
        await runner.call(Attach(0, 0, CONTAINER, "cart-1"))
        await bridge.send(Listening((HTTP,)))
        assert await heard(runner) == Mirroring(0, (HTTP,))
        await bridge.send(Listening(()))
        assert await heard(runner) == Mirroring(0, ())
        assert warrants.warrants[0].got == [("cart-1", (HTTP,)), ("cart-1", ())]


async def test_after_the_last_session_the_engine_rests(stage: Stage) -> None:
    async with await stage.founder() as first:
        await first.close("enough")
        await until(lambda: stage.engine.rested)
    async with await stage.founder() as runner:
        await runner.call(Ping(0))
        assert stage.engine.rested == 1
    await until(lambda: stage.engine.rested == 2)


async def test_a_refusal_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    warrants = NarrowWarrants()
    warrants.refuses = "the cluster's MirrorSession policy is missing"
    async with staged(monkeypatch, warrants) as stage:
        with pytest.raises(LinkEnded, match=r"^the cluster's MirrorSession policy is missing$"):
            await stage.founder()


async def test_two_namespaces_may_have_sessions_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, NarrowWarrants()) as stage:
        other = bytes(reversed(SECRET))
        async with (
            await stage.founder(namespace="shop"),
            await stage.founder(namespace="till", secret=other) as runner,
            await stage.control(secret=other) as bridge,
        ):
            assert len(stage.engine.sessions) == 2
            await runner.close("enough")
            assert await gone(bridge) == "the session has ended"
            assert len(stage.engine.sessions) == 1


async def test_a_bug_about_one_session_ends_that_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Narrow):
        async def void(self) -> str:
            await self.over.wait()
            raise KeyError("spec")

        async def ended(self, account: Account) -> None:
            raise KeyError("status")

    warrants = NarrowWarrants()
    warrants.kind = Broken
    async with staged(monkeypatch, warrants) as stage, await stage.founder(patience=60) as first:
        other = bytes(reversed(SECRET))
        async with await stage.founder(session="other", secret=other) as second:
            await first.call(Attach(0, 0, CONTAINER, "cart-1"))
            warrants.warrants[0].over.set()
            assert await gone(first) == "the agent has a bug, which its log tells of"
            await second.call(Ping(0))
            assert list(stage.engine.sessions) == [2]
        assert "could not be reported" in caplog.text


async def test_a_founder_that_never_comes_leaves_no_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cut off between its Hello and the Welcome."""
    monkeypatch.setattr(founder, "FOUNDED_WITHIN", 0.05)

    async def lost(sock: object, message: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    with monkeypatch.context() as cut_off:
        cut_off.setattr(server, "send_frame", lost)
        with pytest.raises(LinkEnded):
            await stage.founder()
    await until(lambda: not stage.engine.sessions)


async def test_a_session_has_few_links(stage: Stage) -> None:
    async with await stage.founder():
        links = [await stage.control() for _ in range(7)]
        async with links[0], links[1], links[2], links[3], links[4], links[5], links[6]:
            with pytest.raises(LinkEnded, match="at most 8 links"):
                await stage.control()


async def test_the_end_of_the_agent_is_told(stage: Stage) -> None:
    async with await stage.founder(patience=60) as runner:
        stage.server.stop("the agent was ended (SIGTERM)")
        assert await gone(runner) == "the agent was ended (SIGTERM)"
    await asyncio.wait_for(stage.serving, 5)


async def test_secrets_are_in_no_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with await stage.founder(patience=60) as runner:
        await runner.call(Attach(0, 0, CONTAINER))
        await runner.call(GetEnviron(0, 0))
        with pytest.raises(LinkEnded):
            await stage.founder(secret=bytes(32))
    assert "SECRET=1" not in caplog.text
    assert repr(SECRET) not in caplog.text
