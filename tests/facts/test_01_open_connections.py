"""Fact 1: loading a nat chain starts connection tracking, which takes packets of open connections for new ones."""

from __future__ import annotations

import pytest

from tests.facts.steal import SYN, both_ways, lab, nft, table
from tests.net.mirror.lab import TARGET4, TARGET6

pytestmark = pytest.mark.net

REDIRECT = "tcp dport 80 redirect to :7000"


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_a_rule_for_a_syn_leaves_them_alone(target: str) -> None:
    with (
        lab() as made,
        made.listen(target, 80) as listener,
        made.connect(target, 80) as client,
        listener.accept()[0] as server,
    ):
        nft(made, "-f", "-", stdin=table(f"{SYN} {REDIRECT}"))
        both_ways(client, server)


def test_and_a_plain_one_resets_them() -> None:
    with (
        lab() as made,
        made.listen(TARGET4, 80) as listener,
        made.connect(TARGET4, 80) as client,
        listener.accept()[0],
    ):
        nft(made, "-f", "-", stdin=table(REDIRECT))
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
