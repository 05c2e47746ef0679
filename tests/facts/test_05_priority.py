"""Facts 5, 6, 7: who redirects first; that the output hook knows users; that a connection knows what it asked for."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from tests.facts.steal import SYN, lab, nft, owner, redirect, table
from tests.net.mirror.lab import TARGET4, TARGET6

pytestmark = pytest.mark.net

ORIGINAL_DST = 80


def test_the_usual_chain_goes_first_and_what_it_leaves_is_ours() -> None:
    with lab() as made, made.listen(TARGET4, 9000) as sidecar, owner(made, redirect(80)):
        with made.connect(TARGET4, 80):  # the owner's door took it
            pass
        nft(made, "-f", "-", stdin=table("tcp dport 80 redirect to :9000", priority=-100, name="mesh"))
        with made.connect(TARGET4, 80), sidecar.accept()[0]:
            pass


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_over_lo_a_user_is_told_from_another(target: str) -> None:
    rule = f'oifname "lo" meta skuid 1337 {SYN} tcp dport 80 redirect to :7000'
    with (
        lab() as made,
        made.listen(target, 80) as direct,
        made.inside(made.target),
        socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True) as door,
    ):
        nft(made, "-f", "-", stdin=table(rule, "output"))
        for uid, listener in ((0, direct), (1337, door)):
            os.setresuid(-1, uid, -1)
            try:
                client = socket.create_connection((target, 80), timeout=5)
            finally:
                os.setresuid(-1, 0, -1)
            listener.settimeout(20)
            with client, listener.accept()[0]:
                pass


def test_a_connection_says_which_port_it_asked_for() -> None:
    with lab() as made, made.listen("0.0.0.0", 7000) as door:
        nft(made, "-f", "-", stdin=table(f"{SYN} tcp dport 80 redirect to :7000"))
        for port in (80, 7000):
            with made.connect(TARGET4, port), door.accept()[0] as accepted:
                told = accepted.getsockopt(socket.SOL_IP, ORIGINAL_DST, 16)
                assert struct.unpack("!H", told[2:4])[0] == port
                assert socket.inet_ntoa(told[4:8]) == TARGET4
