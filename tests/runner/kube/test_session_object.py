"""The object of a session: what it says, whose it is, and how its end comes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube import session_object
from runner.kube.errors import KubeError, of_answer
from runner.kube.session_object import SessionObject, Wanted

Json = dict[str, Any]

WANTED = Wanted("shop", "anna@example.com", "deploy/cart", "web", "mirror", ("mirror", "env"))
PATH = "/apis/mirror-run.dev/v1alpha1/namespaces/shop/mirrorsessions"


class ApiServer:
    """Keeps one object, and answers ``says`` first."""

    def __init__(self, *says: KubeError) -> None:
        self.says = list(says)
        self.object: Json | None = None
        self.renewed: list[str] = []
        self.heard = asyncio.Event()
        self.made = asyncio.Event()
        self.changes: asyncio.Queue[tuple[str, Json] | KubeError] = asyncio.Queue()

    async def create(self, path: str, body: Json, **query: str) -> Json:
        assert path == PATH
        self._say()
        self.object = body
        name = body["metadata"].get("name") or body["metadata"]["generateName"] + "x7k2p"
        self.made.set()
        return body | {"metadata": body["metadata"] | {"name": name, "uid": "u-1"}}

    async def patch(self, path: str, body: Json | list[Json], kind: str = "merge", **query: str) -> Json:
        self.heard.set()
        self._say()
        if self.object is None:
            raise KubeError(404, "NotFound", "gone")
        assert path == f"{PATH}/cart-x7k2p/status"
        assert isinstance(body, dict)
        self.renewed.append(body["status"]["renewTime"])
        return body

    async def delete(self, path: str, **query: str) -> Json | None:
        self._say()
        assert path == f"{PATH}/cart-x7k2p"
        self.object = None
        return {}

    async def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[tuple[str, Json], None]:
        assert (path, query) == (PATH, {"fieldSelector": "metadata.name=cart-x7k2p"})
        while True:
            change = await self.changes.get()
            if isinstance(change, KubeError):
                raise change
            yield change

    def _say(self) -> None:
        if self.says:
            raise self.says.pop(0)


async def test_the_object_has_the_hash_and_never_the_secret() -> None:
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    assert api.object is not None
    assert api.object["spec"]["secretHash"] == hashlib.sha256(session.secret).hexdigest()
    assert len(session.secret) == 32
    assert session.secret.hex() not in str(api.object)
    assert repr(session.secret) not in repr(session)
    assert api.object["spec"]["author"] == "anna@example.com"
    assert api.object["metadata"]["labels"]["mirror-run.dev/author"] == "anna-example.com"
    assert api.object["metadata"]["annotations"]["mirror-run.dev/author"] == "anna@example.com"


@pytest.mark.parametrize(
    ("target", "prefix"),
    [
        ("deploy/cart", "cart-"),
        ("svc/a.b", "a-b-"),
        ("-l app=cart", "l-app-cart-"),
        ("pod/" + "x" * 99, "x" * 40 + "-"),
    ],
)
async def test_it_is_named_for_its_target(target: str, prefix: str) -> None:
    api = ApiServer()
    await SessionObject.create(api, Wanted("shop", "a", target, "", "mirror", ("mirror",)))
    assert api.object is not None
    assert api.object["metadata"]["generateName"] == prefix


async def test_the_policys_words_are_the_users() -> None:
    said = (
        b'{"kind":"Status","reason":"Forbidden","message":"mirrorsessions.mirror-run.dev \\"cart-x\\" is forbidden: '
        b"ValidatingAdmissionPolicy 'mirror-run-sessions' with binding 'mirror-run-sessions' denied request: "
        b'you lack create mirrorsessions/env in shop"}'
    )
    with pytest.raises(Refusal) as refused:
        await SessionObject.create(ApiServer(of_answer("POST", PATH, 403, said)), WANTED)
    assert refused.value.what == "you lack create mirrorsessions/env in shop"


async def test_what_rbac_refuses_is_named() -> None:
    said = b'{"message":"User \\"anna\\" cannot create resource \\"mirrorsessions\\" in the namespace \\"shop\\""}'
    with pytest.raises(Refusal) as refused:
        await SessionObject.create(ApiServer(of_answer("POST", PATH, 403, said)), WANTED)
    assert "create mirrorsessions.mirror-run.dev in namespace shop" in refused.value.what


async def renewals(api: ApiServer, count: int) -> None:
    while len(api.renewed) < count:
        await api.heard.wait()
        api.heard.clear()


async def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_object, "RENEWED_EVERY", 0)
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    api.says = [KubeError(0, "", "no way there"), KubeError(503, "", "starting")]
    keeping = asyncio.create_task(session.keep())
    await renewals(api, 2)
    assert not keeping.done()
    api.object = None
    assert "mirrorsession shop/cart-x7k2p was deleted" in await keeping
    assert api.renewed == sorted(set(api.renewed))


async def test_its_deletion_is_heard_of_at_once() -> None:
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    keeping = asyncio.create_task(session.keep())
    await renewals(api, 1)
    api.changes.put_nowait(("MODIFIED", {}))
    api.changes.put_nowait(("DELETED", {}))
    assert "was deleted" in await asyncio.wait_for(keeping, 5)
    assert len(api.renewed) == 1


async def test_who_may_not_watch_has_the_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_object, "RENEWED_EVERY", 0)
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    api.changes.put_nowait(KubeError(403, "Forbidden", "no"))
    keeping = asyncio.create_task(session.keep())
    await renewals(api, 3)
    api.object = None
    assert "was deleted" in await keeping


async def test_a_lapsed_session_is_made_again_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine slept; agents collected the object. Bridge and agents know it by this name and secret."""
    monkeypatch.setattr(session_object, "LAPSED_AFTER", 0)
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    assert api.object is not None
    before = api.object
    keeping = asyncio.create_task(session.keep())
    await renewals(api, 1)
    api.object = None
    api.says = []
    api.made.clear()
    api.changes.put_nowait(("DELETED", {}))
    await api.made.wait()
    assert api.object is not None
    assert api.object["metadata"]["name"] == session.name == "cart-x7k2p"
    assert "generateName" not in api.object["metadata"]
    assert api.object["spec"] == before["spec"]
    assert not keeping.done()
    keeping.cancel()


async def test_a_lapsed_session_whose_rights_are_gone_stays_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_object, "LAPSED_AFTER", 0)
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    keeping = asyncio.create_task(session.keep())
    await renewals(api, 1)
    api.says = [KubeError(403, "Forbidden", "denied request: you lack create mirrorsessions in shop")]
    api.changes.put_nowait(("DELETED", {}))
    assert await keeping == "the session had lapsed: you lack create mirrorsessions in shop"


async def test_an_end_that_the_api_server_does_not_take_is_no_error() -> None:
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    api.says = [KubeError(0, "", "no way there")]
    await session.delete()
    assert api.object is not None
    await session.delete()
    assert api.object is None
