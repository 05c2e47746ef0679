"""Version negotiation as a table of two sides, and the sentences of those who cannot talk."""

from __future__ import annotations

import dataclasses

import pytest

from wire.handshake import Refused, judge, welcomed
from wire.messages import Done, Goodbye, Hello, LinkKind, Welcome

RUNNER = "mirror-run 0.3.0"
AGENT = "agent 0.2.0"


def hello(protocol: int = 1, oldest: int = 1) -> Hello:
    return Hello(protocol, oldest, RUNNER, LinkKind.CONTROL, "k7f2", bytes(32))


@pytest.mark.parametrize(
    ("dials", "answers", "spoken"),
    [((1, 1), (1, 1), 1), ((3, 1), (2, 1), 2), ((2, 1), (3, 2), 2), ((9, 4), (4, 4), 4), ((4, 4), (9, 4), 4)],
)
def test_both_speak_the_lower_of_their_versions(
    dials: tuple[int, int], answers: tuple[int, int], spoken: int
) -> None:
    said = hello(*dials)
    heard, welcome = judge(said, AGENT, protocol=answers[0], oldest=answers[1])
    assert heard == said
    assert welcome == Welcome(spoken, AGENT)
    assert welcomed(welcome, said) == welcome


def test_an_older_runner_is_told_so() -> None:
    with pytest.raises(Refused) as refused:
        judge(hello(1, 1), AGENT, protocol=3, oldest=2)
    assert str(refused.value) == (
        "mirror-run 0.3.0 is older than agent 0.2.0: it speaks protocol 1, and agent 0.2.0 needs 2 at least. "
        "Upgrade mirror-run 0.3.0, or use the agent of its release."
    )


def test_an_older_agent_is_told_so() -> None:
    with pytest.raises(Refused) as refused:
        judge(hello(5, 4), AGENT, protocol=3, oldest=1)
    assert str(refused.value) == (
        "agent 0.2.0 is older than mirror-run 0.3.0: it speaks protocol 3, and mirror-run 0.3.0 needs 4 at least. "
        "Upgrade agent 0.2.0, or use the mirror-run of its release."
    )


def test_the_first_frame_is_a_hello_that_makes_sense() -> None:
    with pytest.raises(Refused, match="begins with Hello, not with Done"):
        judge(Done(1), AGENT)
    with pytest.raises(Refused, match="unknown kind 7"):
        judge(dataclasses.replace(hello(), kind=7), AGENT)
    with pytest.raises(Refused, match="protocol 1 and none before 2"):
        judge(hello(1, 2), AGENT)


def test_the_answer_is_a_welcome_or_the_peers_own_sentence() -> None:
    with pytest.raises(Refused, match=r"^no such session$"):
        welcomed(Goodbye("no such session"), hello())
    with pytest.raises(Refused, match="without a reason"):
        welcomed(Goodbye(""), hello())
    with pytest.raises(Refused, match="not Done"):
        welcomed(Done(1), hello())
    with pytest.raises(Refused, match=r"answered with protocol 2, but mirror-run 0.3.0 speaks 1 to 1"):
        welcomed(Welcome(2, AGENT), hello())
