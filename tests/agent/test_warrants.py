"""What a session may do: by its secret's hash and the pods it was made for."""

from __future__ import annotations

import hashlib

import pytest

from agent import containers, warrants
from agent.warrants import RIGHTS, NotAllowed, Pinned, Unproved, Warrant
from wire.messages import Hello, LinkKind

SECRET = bytes(range(32))
UID, ELSE = "6f1c2b9e-0d3a-4c57-8a11-2b3c4d5e6f70", "11111111-2222-3333-4444-555555555555"
CONTAINER = "1" * 64


def hello(secret: bytes) -> Hello:
    return Hello(1, 1, "test 1", LinkKind.CONTROL, "k7f2", secret, founder=True)


async def test_the_secret_of_that_hash_and_no_other() -> None:
    pinned = Pinned(hashlib.sha256(SECRET).digest(), [UID])
    warrant = await pinned.warrant(hello(SECRET))
    assert warrant.rights == RIGHTS
    for wrong in (bytes(32), SECRET[::-1], hashlib.sha256(SECRET).digest()):
        with pytest.raises(Unproved):
            await pinned.warrant(hello(wrong))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [(ELSE, f"container 111111111111 is of pod {ELSE}"), ("", "container 111111111111 is of no pod")],
)
async def test_the_pods_it_was_made_for_and_no_others(
    monkeypatch: pytest.MonkeyPatch, found: str, sentence: str
) -> None:
    warrant = await Pinned(hashlib.sha256(SECRET).digest(), [UID]).warrant(hello(SECRET))
    monkeypatch.setattr(containers, "pod_of", lambda container: UID)
    await warrant.may_enter(CONTAINER, "any name")
    monkeypatch.setattr(containers, "pod_of", lambda container: found)
    with pytest.raises(NotAllowed, match=sentence):
        await warrant.may_enter(CONTAINER, "any name")


def test_what_is_missing_is_said_in_the_clusters_words() -> None:
    warrant = Warrant()
    warrant.namespace = "shop"
    assert warrant.lacking("mirror") == "you lack create mirrorsessions in shop"
    assert warrant.lacking("files-write") == "you lack create mirrorsessions/files-write in shop"


def test_a_warrant_of_nobody_in_particular_may_all() -> None:
    assert warrants.Warrant().rights == {"mirror", "outgoing", "env", "files", "files-write", "steal"}
