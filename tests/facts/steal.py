"""For the facts about stealing: a target's namespace and a client's, and a process that owns a table and a door."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.net.mirror.lab import Lab, run

SYN = "tcp flags & (fin | syn | rst | ack) == syn"

# Debian's own Python: libnftables' binding comes from there.
OWNER = """
import os, socket, sys
import nftables
rules, first = sys.argv[1], sys.argv[2] == "first"
if first:
    os.close(0)
    nft = nftables.Nftables()
door = socket.socket(socket.AF_INET6)
door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
door.bind(("::", 7000)); door.listen()
if not first:
    nft = nftables.Nftables()
code, _, error = nft.cmd(rules)
assert code == 0, error
print("ready", flush=True)
kept = []
while True:
    kept.append(door.accept()[0])
    if not first:
        os.dup2(kept[-1].fileno(), 0)
        kept.pop().close()
    print("accepted", flush=True)
"""


@contextmanager
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.destroy()


def nft(made: Lab, *words: str, stdin: str = "") -> str:
    """nft in the target."""
    return run("ip", "netns", "exec", made.target, "nft", *words, stdin=stdin)


@contextmanager
def owner(made: Lab, rules: str, *, first: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A process in the target that accepts at port 7000 and owns these rules, by its first fd or by its last."""
    words = [
        "ip",
        "netns",
        "exec",
        made.target,
        "/usr/bin/python3",
        "-c",
        OWNER,
        rules,
        "first" if first else "last",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def table(
    rule: str, hook: str = "prerouting", priority: int = -90, *, flags: str = "", name: str = "fact"
) -> str:
    """One nat chain with one rule."""
    lines = [
        f"table inet {name} {{",
        flags,
        "chain c {",
        f"type nat hook {hook} priority {priority}",
        rule,
        "}",
        "}",
    ]
    return "\n".join([*lines, ""])


def redirect(port: int) -> str:
    """An owned table that redirects this port to 7000."""
    return table(f"{SYN} tcp dport {port} redirect to :7000", flags="flags owner")


def both_ways(one: socket.socket, other: socket.socket) -> None:
    for sender, receiver in ((one, other), (other, one)):
        sender.sendall(b"x")
        assert receiver.recv(1) == b"x"
