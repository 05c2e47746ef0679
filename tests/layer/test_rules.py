"""The nft script is a pure function: its text is golden, and the parser of the machine at hand takes it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from layer import rules
from layer.rules import Ground, Sockets

GOLDEN = Path(__file__).with_name("rules.nft")

GROUND = Ground(
    (socket.inet_aton("198.18.5.2"), socket.inet_pton(socket.AF_INET6, "fd00:198:18::5")),
    (socket.inet_aton("127.0.0.11"),),
)
SOCKETS = Sockets(
    tcp=frozenset({8080, 80}),
    udp=frozenset({53}),
    loop_tcp=frozenset({8080}),
    tracked_tcp=frozenset({8080, 9000}),
    relays=frozenset({40001}),
    relayed4=frozenset({(82, 40001)}),
    relayed6=frozenset({(82, 40001), (8080, 40002)}),
)


def test_golden() -> None:
    """After a wanted change: python3 -m tests.layer.test_rules"""
    assert rules.whole(GROUND, SOCKETS) == GOLDEN.read_text()


def test_same_wishes_same_text_whatever_their_order() -> None:
    backwards = Ground(tuple(reversed(GROUND.addresses)), GROUND.resolvers)
    assert rules.whole(backwards, SOCKETS) == rules.whole(GROUND, SOCKETS)


def test_every_set_that_is_used_is_declared_and_filled_by_ports() -> None:
    text = rules.whole(GROUND, Sockets())
    declared = set(re.findall(r"(?:set|map) (\w+) \{ type", text))
    assert set(re.findall(r"@(\w+)", text)) == declared
    flushed = set(re.findall(r"flush (?:set|map) inet \w+ (\w+)", rules.ports(Sockets())))
    assert declared - flushed == {"own4", "own6", "resolvers"}


@pytest.mark.net
@pytest.mark.parametrize("sockets", [Sockets(), SOCKETS], ids=["empty", "full"])
@pytest.mark.parametrize("ground", [Ground(()), GROUND], ids=["nowhere", "both"])
def test_nft_takes_it(ground: Ground, sockets: Sockets) -> None:
    assert shutil.which("nft"), "nftables is among the packages of group test"
    done = subprocess.run(
        ["unshare", "--net", "nft", "-c", "-f", "-"],
        input=rules.whole(ground, sockets),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


if __name__ == "__main__":
    GOLDEN.write_text(rules.whole(GROUND, SOCKETS))
