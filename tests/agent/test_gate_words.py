"""The words of a gate's control socket, as agent/gate/control.h has them."""

from __future__ import annotations

import msgpack
import pytest

from agent import gate_words
from agent.gate_words import Applied, Counts, Drained, Failed, Ready, Rule, Thief, Want
from wire.messages import Condition, Filter, Probe


def test_a_want() -> None:
    wanted = Want(
        (Thief(7, 1_700_000_000, gate_words.RESET, 5000, True, False, True),),
        (
            Rule(7, 0, 80, 8080),
            Rule(
                7,
                1,
                81,
                81,
                (Filter((Condition(0, "a"), Condition(2, "^GET$"))), Filter((Condition(1, "/b"),))),
            ),
        ),
        (b"\xc6\x12\0\1",),
        (Probe(80, 0, "/up"), Probe(81, 2, "x")),
        (4001,),
    )
    assert msgpack.unpackb(gate_words.want(3, wanted)) == [
        1,
        3,
        [[7, 1_700_000_000, 2, 5000, 5]],
        [[7, 0, 80, 8080, None], [7, 1, 81, 81, [[[0, "a"], [2, "^GET$"]], [[1, "/b"]]]]],
        [b"\xc6\x12\0\1"],
        [[80, 0, "/up"], [81, 2, "x"]],
        [4001],
    ]


def test_a_want_that_no_packet_holds() -> None:
    rule = Rule(1, 0, 80, 80, (Filter((Condition(0, "x" * 200_000),)),))
    with pytest.raises(ValueError, match="more than a gate takes"):
        gate_words.want(1, Want((), (rule,)))


def test_a_drain() -> None:
    assert msgpack.unpackb(gate_words.drain(600)) == [2, 600]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([16, 4000], Ready(4000)),
        ([17, 3], Applied(3)),
        ([18, 17, "cart is stolen by anna"], Failed(17, "cart is stolen by anna")),
        ([19, 7, 80, 5, 1, 1, 2, 0, "GET / HTTP/1.1"], Counts(7, 80, 5, 1, 1, 2, 0, "GET / HTTP/1.1")),
        ([20, 4], Drained(4)),
        ([17, 3, "a later version's"], Applied(3)),
        ([99], None),
    ],
)
def test_what_it_says(words: list[object], said: object) -> None:
    assert gate_words.read(msgpack.packb(words)) == said
