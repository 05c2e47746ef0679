"""The agent and an API server that says what the test wants: sessions looked up, watched, lapsed, and told of."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from agent import announced_core, api_server, cluster, cluster_words, warrant_core
from agent.account import Account, Outgoing
from agent.api_server import ApiFault, ApiServer
from agent.cluster import BINDING, PARAMETERS, POLICY, ClusterWarrants
from agent.warrants import NotAllowed, Refused, Unproved, Warrant
from tests.runner.kube.served import Asked, Served, served
from wire.messages import AppPort, Counters, Hello, Proto

Json = dict[str, Any]

SECRET = b"s" * 32
SESSIONS = "/apis/mirror-run.dev/v1alpha1/namespaces/shop/mirrorsessions"
SESSION = f"{SESSIONS}/cart-x"
POD = "/api/v1/namespaces/shop/pods/cart-0"
EVENTS = "/api/v1/namespaces/shop/events"
ID = "ab" * 32


class Objects:
    """What the API server has, by path. ``watches`` are open answers; ``gone``: what was asked to be deleted."""

    def __init__(self) -> None:
        before = {"creationTimestamp": "2026-01-01T10:00:00Z"}
        self.there: dict[str, Json] = {
            SESSION: session(),
            POLICY: {"metadata": before, "spec": {"a": 1}},
            BINDING: {"metadata": before, "spec": {"b": 2}},
            PARAMETERS: {"metadata": before, "spec": {"agentNamespace": "mirror-run"}},
            POD: {
                "metadata": {"namespace": "shop", "name": "cart-0", "uid": "p-1"},
                "spec": {"nodeName": "n1"},
                "status": {"containerStatuses": [{"name": "web", "containerID": f"containerd://{ID}"}]},
            },
        }
        self.watches: asyncio.Queue[Asked] = asyncio.Queue()
        self.gone: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        self.fails: dict[str, int] = {}

    async def answer(self, asked: Asked) -> None:
        assert asked.headers["authorization"] == "Bearer the-token"
        if status := self.fails.pop(asked.path, 0) or self.fails.pop(f"{asked.method} {asked.path}", 0):
            await asked.respond(status, {"kind": "Status", "message": f"it is {status}"})
        elif "watch=1" in asked.target:
            await asked.begin(200)
            await self.watches.put(asked)
            await asyncio.get_running_loop().create_future()  # the test says what is seen
        elif asked.method == "POST":
            await self.events.put(json.loads(asked.body))
            await asked.respond(201, {})
        elif asked.method == "DELETE":
            await self.gone.put((asked.path, json.loads(asked.body)["preconditions"]))
            found = self.there.pop(asked.path, None)
            await asked.respond(200 if found else 404, found or {"message": "not found"})
        elif asked.path == "/apis/mirror-run.dev/v1alpha1/mirrorsessions":
            items = [one for path, one in self.there.items() if path.startswith(SESSIONS)]
            await asked.respond(200, {"items": items, "metadata": {}})
        elif asked.path in self.there:
            await asked.respond(200, self.there[asked.path])
        else:
            await asked.respond(404, {"kind": "Status", "message": "not found"})


def session(version: str = "7", **status: str) -> Json:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "cart-x",
            "uid": "u-1",
            "resourceVersion": version,
            "creationTimestamp": "2026-01-01T12:00:00Z",
        },
        "spec": {
            "author": "anna",
            "target": "deploy/cart",
            "mode": "mirror",
            "rights": ["mirror", "env"],
            "secretHash": hashlib.sha256(SECRET).hexdigest(),
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": "d-1"},
        },
        "status": status,
    }


EXPECTED = hashlib.sha256(b'[{"a":1},{"b":2}]').hexdigest()


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
async def server(objects: Objects, tmp_path: Path) -> AsyncIterator[Served]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("the-token\n")
    async with served(objects.answer, context) as made:
        yield made


@pytest.fixture
def api(server: Served, tmp_path: Path) -> ApiServer:
    return ApiServer("127.0.0.1", server.port, str(tmp_path))


@pytest.fixture
def warrants(api: ApiServer) -> ClusterWarrants:
    return ClusterWarrants(api, "n1", EXPECTED)


def hello(secret: bytes = SECRET, namespace: str = "shop", name: str = "cart-x") -> Hello:
    return Hello(1, 1, "test", 1, name, secret, "anna", founder=True, namespace=namespace)


async def given(warrants: ClusterWarrants) -> Warrant:
    return await warrants.warrant(hello())


# --- founding -------------------------------------------------------------------------------------------------------


async def test_a_session_is_what_its_object_says(warrants: ClusterWarrants, server: Served) -> None:
    warrant = await given(warrants)
    assert warrant.namespace == "shop"
    assert warrant.rights == {"mirror", "env"}
    assert not warrant.limits.metadata_addresses
    assert [asked.path for asked in server.asked] == [SESSION, POLICY, BINDING, PARAMETERS]
    assert {asked.connection for asked in server.asked} == {1}


async def test_who_proves_nothing_learns_nothing(warrants: ClusterWarrants, server: Served) -> None:
    for said in (hello(b"t" * 32), hello(name="cart-y"), hello(namespace="other")):
        with pytest.raises(Unproved):
            await warrants.warrant(said)
    assert {asked.path for asked in server.asked}.isdisjoint({POLICY, BINDING, PARAMETERS})


async def test_what_is_no_name_is_not_asked_for(warrants: ClusterWarrants, server: Served) -> None:
    for said in (hello(name="../../secrets"), hello(namespace=""), hello(namespace="a/b"), hello(name="x?y")):
        with pytest.raises((Unproved, Refused)):
            await warrants.warrant(said)
    assert server.asked == []


@pytest.mark.parametrize("missing", [POLICY, BINDING, PARAMETERS])
async def test_without_the_policy(warrants: ClusterWarrants, objects: Objects, missing: str) -> None:
    del objects.there[missing]
    with pytest.raises(Refused, match="is missing"):
        await given(warrants)


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_an_api_server_that_says_no(warrants: ClusterWarrants, objects: Objects, status: int) -> None:
    objects.fails = {POLICY: status}
    with pytest.raises(Refused, match=f"cannot look the session up: it is {status}"):
        await given(warrants)


async def test_an_api_server_that_is_away(tmp_path: Path, warrants: ClusterWarrants, api: ApiServer) -> None:
    away = ClusterWarrants(ApiServer("127.0.0.1", 1, api.folder), "n1", EXPECTED)
    with pytest.raises(Refused, match="cannot be reached"):
        await given(away)


async def test_another_authority_is_not_believed(api: ApiServer, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    with pytest.raises(ApiFault, match="certificate verify failed"):
        await api.ask("GET", SESSION)


async def test_the_token_is_read_each_time(api: ApiServer, objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another")
    with pytest.raises(ApiFault):
        await api.ask("GET", SESSION)
    (tmp_path / "token").write_text("the-token")
    assert (await api.ask("GET", SESSION))["metadata"]["uid"] == "u-1"


# --- entering -------------------------------------------------------------------------------------------------------


async def test_a_container_of_that_pod(warrants: ClusterWarrants) -> None:
    await (await given(warrants)).may_enter(ID, "cart-0")


@pytest.mark.parametrize(
    ("container", "pod", "words"),
    [
        ("cd" * 32, "cart-0", "has no container"),
        (ID, "cart-1", "does not exist"),
        (ID, "", "cannot be the name of a pod"),
        (ID, "../../other/pods/x", "cannot be the name of a pod"),
    ],
)
async def test_no_other(warrants: ClusterWarrants, container: str, pod: str, words: str) -> None:
    warrant = await given(warrants)
    with pytest.raises(NotAllowed, match=words):
        await warrant.may_enter(container, pod)


async def test_a_pod_that_cannot_be_looked_up(warrants: ClusterWarrants, objects: Objects) -> None:
    warrant = await given(warrants)
    objects.fails = {POD: 500}
    with pytest.raises(NotAllowed, match="it is 500"):
        await warrant.may_enter(ID, "cart-0")


# --- the end --------------------------------------------------------------------------------------------------------


async def test_a_deleted_object_ends_it(warrants: ClusterWarrants, objects: Objects) -> None:
    over = asyncio.create_task((await given(warrants)).void())
    watch = await objects.watches.get()
    query = parse_qs(urlsplit(watch.target).query)
    assert query["resourceVersion"] == ["7"]
    assert query["fieldSelector"] == ["metadata.name=cart-x"]
    await watch.say({"type": "MODIFIED", "object": session("8", renewTime="a")})
    assert not over.done()
    await watch.say({"type": "DELETED", "object": session("9")})
    assert await over == "MirrorSession shop/cart-x was deleted"
    assert objects.gone.empty()


async def test_one_that_waits_for_a_finalizer_counts_as_deleted(
    warrants: ClusterWarrants, objects: Objects
) -> None:
    over = asyncio.create_task((await given(warrants)).void())
    going = session("8")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T13:00:00Z"
    await (await objects.watches.get()).say({"type": "MODIFIED", "object": going})
    assert "was deleted" in await over


async def test_a_watch_that_breaks_is_begun_anew(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "AGAIN", 0)
    over = asyncio.create_task((await given(warrants)).void())
    (await objects.watches.get()).drop()
    watch = await objects.watches.get()
    await watch.say({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
    objects.there[SESSION] = session("20")
    again = await objects.watches.get()
    assert "resourceVersion=20" in again.target
    del objects.there[SESSION]
    again.drop()
    assert "was deleted" in await over


async def test_another_object_of_that_name_is_not_it(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "AGAIN", 0)
    over = asyncio.create_task((await given(warrants)).void())
    watch = await objects.watches.get()
    objects.there[SESSION] = session("20")
    objects.there[SESSION]["metadata"]["uid"] = "u-2"
    watch.drop()
    assert "was deleted" in await over


async def test_a_lease_that_is_not_renewed_lapses(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes of anything else do not renew it."""
    monkeypatch.setattr(warrant_core, "LEASE", 0.3)
    begun = asyncio.get_running_loop().time()
    over = asyncio.create_task((await given(warrants)).void())
    watch = await objects.watches.get()
    await watch.say({"type": "MODIFIED", "object": session("8", renewTime="a")})
    await watch.say({"type": "MODIFIED", "object": session("9", renewTime="a")})
    objects.there[SESSION] = session("9", renewTime="a")
    assert "its lease lapsed" in await over
    assert asyncio.get_running_loop().time() - begun < 3
    assert await objects.gone.get() == (SESSION, {"uid": "u-1", "resourceVersion": "9"})


async def test_a_watch_that_fell_silent_is_no_lapse(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is asked for before it is deleted; deleting it would end the session everywhere."""
    monkeypatch.setattr(warrant_core, "LEASE", 0.3)
    over = asyncio.create_task((await given(warrants)).void())
    silent = await objects.watches.get()
    objects.there[SESSION] = session("30", renewTime="b")
    again = await objects.watches.get()
    assert silent is not again
    assert "resourceVersion=30" in again.target
    assert objects.gone.empty()
    await again.say({"type": "DELETED", "object": session("31")})
    assert "was deleted" in await over


async def test_a_renewal_at_the_last_moment_counts(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warrant_core, "LEASE", 0.3)
    over = asyncio.create_task((await given(warrants)).void())
    await objects.watches.get()
    objects.fails = {f"DELETE {SESSION}": 409}
    await objects.watches.get()
    assert not over.done()
    over.cancel()


async def test_an_agent_that_cannot_ask_serves_no_longer(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could end the session otherwise; the object is not touched."""
    monkeypatch.setattr(warrant_core, "LEASE", 0.3)
    over = asyncio.create_task((await given(warrants)).void())
    await objects.watches.get()
    objects.fails = {SESSION: 500}
    assert "could not be asked whether the session may go on" in await over
    assert objects.gone.empty()


async def test_a_session_lasts_as_long_as_it_may(warrants: ClusterWarrants, objects: Objects) -> None:
    objects.there[PARAMETERS]["spec"]["longestSessionSeconds"] = 1
    assert "sessions may last 1 s here" in await (await given(warrants)).void()
    assert await objects.gone.get() == (SESSION, {"uid": "u-1"})


async def test_lapsed_objects_are_collected(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only this very version of it: one that was renewed meanwhile stays."""
    monkeypatch.setattr(cluster, "SWEEPS_EVERY", 0.01)
    monkeypatch.setattr(warrant_core, "LEASE", 0.1)
    tending = asyncio.create_task(warrants.tend())
    assert await objects.gone.get() == (SESSION, {"uid": "u-1", "resourceVersion": "7"})
    tending.cancel()


async def test_a_look_that_fails_is_no_end(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SWEEPS_EVERY", 0.01)
    monkeypatch.setattr(warrant_core, "LEASE", 0.1)
    objects.fails = {"/apis/mirror-run.dev/v1alpha1/mirrorsessions": 500}
    tending = asyncio.create_task(warrants.tend())
    await objects.gone.get()
    tending.cancel()


# --- words ----------------------------------------------------------------------------------------------------------


WEB, DNS = AppPort(Proto.TCP, 3000, 8080), AppPort(Proto.UDP, 53, 53)
OVER = Account(
    "the runner left",
    12.3456,
    frozenset({"mirror", "outgoing"}),
    Counters(connections=3, bytes=1000),
    Outgoing(opened=2, sent=30, received=4000, slowed=1),
)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEGINS_WITHIN", "SETTLES", "LINGERS"):
        monkeypatch.setattr(announced_core, name, 0.0)


async def told(objects: Objects) -> str:
    """One event, on the pod and on its workload; its words."""
    both = [await objects.events.get() for _ in range(2)]
    assert {(one["involvedObject"]["kind"], one["involvedObject"]["uid"]) for one in both} == {
        ("Pod", "p-1"),
        ("Deployment", "d-1"),
    }
    assert len({(one["reason"], one["message"]) for one in both}) == 1
    return f"{both[0]['reason']}: {both[0]['message']}"


async def entered(warrants: ClusterWarrants) -> Warrant:
    warrant = await given(warrants)
    await warrant.may_enter(ID, "cart-0")
    warrant.entered(ID, "cart-0")
    return warrant


@pytest.mark.usefixtures("at_once")
async def test_events_name_the_ports(
    warrants: ClusterWarrants, objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    warrant = await entered(warrants)
    began = await told(objects)
    assert (
        began == "MirrorSessionBegan: anna takes part in deploy/cart, and mirrors no port of it yet, with env"
    )
    warrant.gets(ID, "cart-0", (DNS, WEB), ())
    assert await told(objects) == "MirrorSessionChanged: anna mirrors 8080, 53/udp of deploy/cart"
    warrant.gets(ID, "cart-0", (WEB,), ())
    assert await told(objects) == "MirrorSessionChanged: anna mirrors 8080 of deploy/cart"
    await warrant.ended(OVER)
    ended = await told(objects)
    assert ended == (
        "MirrorSessionEnded: anna no longer mirrors 8080 of deploy/cart "
        "(3 connections, 1000 bytes mirrored, 12 s): the runner left"
    )
    assert objects.events.empty()


async def test_a_beginning_has_its_ports(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced_core, "SETTLES", 0.0)
    warrant = await entered(warrants)
    assert objects.events.empty()
    warrant.gets(ID, "cart-0", (WEB,), ())
    assert await told(objects) == "MirrorSessionBegan: anna mirrors 8080 of deploy/cart, with env"


async def test_what_is_stolen_is_called_so(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced_core, "SETTLES", 0.0)
    objects.there[SESSION]["spec"] |= {"mode": "steal", "rights": ["mirror", "steal"]}
    warrant = await entered(warrants)
    warrant.gets(ID, "cart-0", (DNS,), (WEB,))
    began = await told(objects)
    assert began == "MirrorSessionBegan: anna steals 8080 and mirrors 53/udp of deploy/cart, with mirror"


async def test_a_session_that_is_over_at_once_is_told_of_too(
    warrants: ClusterWarrants, objects: Objects
) -> None:
    warrant = await entered(warrants)
    warrant.gets(ID, "cart-0", (WEB,), ())
    warrant.left(ID, "cart-0")  # as the targets are let go
    await warrant.ended(OVER)
    said = {(one["reason"], one["message"]) for one in [await objects.events.get() for _ in range(4)]}
    assert {reason for reason, _ in said} == {"MirrorSessionBegan", "MirrorSessionEnded"}
    assert ("MirrorSessionBegan", "anna mirrors 8080 of deploy/cart, with env") in said
    assert objects.events.empty()


async def test_a_pod_that_was_only_looked_at_is_not_told_of(
    warrants: ClusterWarrants, objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its container had ended by the time it was to be entered."""
    warrant = await given(warrants)
    await warrant.may_enter(ID, "cart-0")
    await warrant.ended(OVER)
    assert json.loads(capsys.readouterr().out)["pods"] == []
    assert objects.events.empty()


async def test_the_last_line(warrants: ClusterWarrants, capsys: pytest.CaptureFixture[str]) -> None:
    warrant = await entered(warrants)
    await warrant.ended(OVER)
    line = json.loads(capsys.readouterr().out)
    assert line["session"] == "shop/cart-x"
    assert line["rights"] == ["env", "mirror"]
    assert line["used"] == ["mirror", "outgoing"]
    assert line["pods"] == ["cart-0"]
    assert (line["connections"], line["bytes"]) == (3, 1000)
    assert (line["opened"], line["bytes_sent"], line["bytes_received"]) == (2, 30, 4000)
    assert line["datagrams_slowed"] == 1
    assert line["seconds"] == 12.346
    assert line["end"] == "the runner left"


async def test_an_api_server_that_takes_no_events_holds_nothing_up(
    warrants: ClusterWarrants, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_words, "LAST_WORDS", 0.05)
    warrant = await entered(warrants)
    objects.fails = {EVENTS: 403}
    await warrant.ended(OVER)


# --- HTTP -----------------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_too_long(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "LARGEST", 10)
    with pytest.raises(ApiFault, match="too long"):
        await api.ask("GET", SESSION)


async def test_an_answer_that_never_comes(
    api: ApiServer, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "ANSWERS_WITHIN", 0.2)
    with pytest.raises(ApiFault, match="did not answer GET"):
        await api.ask("GET", SESSION, watch="1")


async def test_events_come_in_any_pieces(api: ApiServer, objects: Objects) -> None:
    async with api.talk() as talk, aclosing(talk.watch(SESSIONS, "1")) as watch:
        first = asyncio.ensure_future(anext(watch))
        asked = await objects.watches.get()
        text = json.dumps({"type": "ADDED", "object": session()}) + "\n"
        await asked.say(text[:10])
        await asked.say(text[10:] + text + text[:5])
        assert (await first)[0] == "ADDED"
        assert (await anext(watch))[1]["metadata"]["name"] == "cart-x"
        await asked.say("no JSON\n")
        with pytest.raises(ApiFault, match="no event"):
            await anext(watch)
