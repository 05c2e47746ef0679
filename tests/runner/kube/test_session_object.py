"""The object of a session: what it says, whose it is, and how its end comes."""

from __future__ import annotations

import asyncio
import hashlib
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

    async def create(self, path: str, body: Json, **query: str) -> Json:
        assert path == PATH
        self._say()
        self.object = body
        body["metadata"] |= {"name": body["metadata"]["generateName"] + "x7k2p", "uid": "u-1"}
        return body

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


async def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_object, "RENEWED_EVERY", 0)
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    api.says = [KubeError(0, "", "no way there"), KubeError(503, "", "starting")]
    keeping = asyncio.create_task(session.keep())
    while len(api.renewed) < 2:
        await api.heard.wait()
        api.heard.clear()
    assert not keeping.done()
    api.object = None
    assert "somebody deleted mirrorsession shop/cart-x7k2p" in await keeping
    assert api.renewed == sorted(set(api.renewed))


async def test_an_end_that_the_api_server_does_not_take_is_no_error() -> None:
    api = ApiServer()
    session = await SessionObject.create(api, WANTED)
    api.says = [KubeError(0, "", "no way there")]
    await session.delete()
    assert api.object is not None
    await session.delete()
    assert api.object is None
