"""Which rule decides, and that the packed form says the same."""

from __future__ import annotations

import struct
import time

import pytest

from runner.errors import Refusal
from runner.files import dfa
from runner.files.rules import Mode, Rules, Whose, Wishes, explained

RULES = Rules(
    Mode.READ,
    Wishes(
        not_found=(r"^/srv/secret",),
        local=(r"\.tmp$",),
        read_only=("^/etc/app",),
        read_write=("^/srv/data", "^/srv/secret/never"),
        mapped=(("/app/config", "/etc/app"),),
    ),
    own=("/home/ada/shop", "/etc/mounted-here"),
    mounts=("/data", "/home/ada/shop/certs-of-target", "/usr/share/app"),
    home="/home/ada",
)


@pytest.mark.parametrize(
    ("path", "whose", "why"),
    [
        ("/srv/secret", Whose.NOT_FOUND, "your pattern ^/srv/secret"),
        ("/srv/secret/never", Whose.NOT_FOUND, "your pattern ^/srv/secret"),  # the more careful first
        ("/srv/data/x", Whose.WRITE, "your pattern ^/srv/data"),
        ("/srv/data/x.tmp", Whose.LOCAL, r"your pattern \.tmp$"),
        ("/etc/app/x", Whose.READ, "your pattern ^/etc/app"),
        ("/app/config/x", Whose.READ, "your pattern ^/etc/app, as /etc/app/x"),
        ("/app/configuration", Whose.READ, "--fs-mode read"),
        ("/home/ada/shop/api.txt", Whose.LOCAL, "the project's: /home/ada/shop"),
        (
            "/home/ada/shop/certs-of-target/x",
            Whose.READ,
            "a mount of the target's: /home/ada/shop/certs-of-target",
        ),
        ("/home/ada/.bashrc", Whose.LOCAL, "the user's home: /home/ada"),
        ("/home/adam", Whose.LOCAL, "by default"),
        ("/data", Whose.READ, "a mount of the target's: /data"),
        ("/database", Whose.READ, "--fs-mode read"),
        ("/usr/share/app/x", Whose.READ, "a mount of the target's: /usr/share/app"),
        ("/usr/share/other", Whose.LOCAL, "by default"),
        ("/etc/resolv.conf", Whose.READ, "by default"),
        ("/etc/ssl/certs/ca-certificates.crt", Whose.READ, "by default"),
        ("/etc/passwd", Whose.LOCAL, "by default"),
        ("/var/run/secrets/kubernetes.io/serviceaccount/token", Whose.READ, "by default"),
        ("/root/.aws/credentials", Whose.NOT_FOUND, "by default"),
        ("/proc/self/maps", Whose.LOCAL, "by default"),
        ("/srv/lib/libx.so.6.2", Whose.LOCAL, "by default"),
        ("/srv/app.py", Whose.LOCAL, "by default"),
        ("/srv/config.yaml", Whose.READ, "--fs-mode read"),
        ("/", Whose.LOCAL, "by default"),
    ],
)
def test_who_decides(path: str, whose: Whose, why: str) -> None:
    said = RULES.decide(path)
    assert (said.whose, said.why[: len(why)]) == (whose, why)


def test_modes() -> None:
    wishes = Wishes(read_write=("^/x",))
    there = {mode: Rules(mode, wishes, mounts=("/data",)) for mode in Mode}
    paths = ("/x", "/y", "/data", "/etc/hosts", "/usr/x")
    said = {mode: [rules.decide(path).whose for path in paths] for mode, rules in there.items()}
    local, read, write = Whose.LOCAL, Whose.READ, Whose.WRITE
    assert said == {
        Mode.LOCAL: [local] * 5,
        Mode.READ: [write, read, read, read, local],
        Mode.WRITE: [write, write, write, write, local],
        Mode.OVERRIDES: [write, local, local, local, local],
    }


def test_explained() -> None:
    rows = explained(RULES, ["/srv/x", "/usr/x"])
    assert rows[0] == ("/srv/x", "the target, read only", "--fs-mode read")
    assert rows[1][:2] == ("/usr/x", "the container")


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=x)"])
def test_a_pattern_that_cannot_be_is_named(pattern: str) -> None:
    with pytest.raises(Refusal) as refused:
        _ = Rules(Mode.READ, Wishes(local=("fine", pattern))).table
    assert repr(pattern) in refused.value.what


def test_packed_is_laid_out_as_it_says() -> None:
    octets = RULES.packed()
    magic, labels, *counts = struct.unpack_from("<8sIIIIII", octets)
    assert (magic, labels, counts) == (b"MRRULES2", len(RULES.patterns), [6, 1, 5, 1, 0])
    at = 32
    assert list(octets[at : at + labels]) == [whose for _, whose in RULES.patterns]
    at += labels
    for folder, whose, _ in RULES.prefixes:
        length, said = struct.unpack_from("<HB", octets, at)
        assert (octets[at + 3 : at + 3 + length].decode(), said) == (folder, whose)
        at += 3 + length
    for one in ("/app/config", "/etc/app"):
        (length,) = struct.unpack_from("<H", octets, at)
        assert octets[at + 2 : at + 2 + length].decode() == one
        at += 2 + length
    at += -at % 8
    assert octets[at:] == RULES.table.packed()
    assert octets[at:].startswith(dfa.MAGIC)


def test_what_the_defaults_cost() -> None:
    """Printed, not judged: states, octets and the time to make them."""
    began = time.perf_counter()
    table = Rules(Mode.READ).table
    print(f"{len(table.labels)} states, {len(table.packed())} octets, {time.perf_counter() - began:.2f} s")
    assert len(table.labels) < 4096


def test_a_relative_mapping_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        Rules(Mode.READ, Wishes(mapped=(("app", "/x"),)))
    assert "absolute" in (refused.value.next_step or "")
