"""hosts and resolv.conf: written in place, and read for name servers on loopback."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from layer import identity
from wire.messages import Identity


@pytest.mark.parametrize("before", [b"", b"short", b"x" * 100_000])
def test_written_in_place(tmp_path: Path, before: bytes) -> None:
    for name in ("hosts", "resolv.conf"):
        (tmp_path / name).write_bytes(before)
    inodes = [os.stat(tmp_path / name).st_ino for name in ("hosts", "resolv.conf")]
    identity.write(Identity("api", (), b"127.0.0.1 localhost\n", b""), str(tmp_path))
    assert (tmp_path / "hosts").read_bytes() == b"127.0.0.1 localhost\n"
    assert (tmp_path / "resolv.conf").read_bytes() == b""
    assert [os.stat(tmp_path / name).st_ino for name in ("hosts", "resolv.conf")] == inodes


def test_name_servers_on_loopback(caplog: pytest.LogCaptureFixture) -> None:
    text = b"""# nameserver 127.0.0.9
search example
nameserver 127.0.0.11
nameserver\t127.0.0.53 # systemd
nameserver 127.0.0.11
nameserver 198.18.0.1
nameserver ::1
nameserver nonsense
nameserver
options ndots:0 \xff
"""
    with caplog.at_level(logging.WARNING):
        assert identity.resolvers(text) == (bytes([127, 0, 0, 11]), bytes([127, 0, 0, 53]))
    assert "::1" in caplog.text
