"""Where links come in: the loopback and nothing else, and one port and no other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.doors import on_path, on_port
from agent.warrants import Anyone


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_both_loopbacks_and_nothing_else() -> None:
    port = free_port()
    door = on_port(port, Anyone())
    try:
        assert {one.getsockname()[:2] for one in door.sockets} == {("127.0.0.1", port), ("::1", port)}
        assert door.far
        assert all(not one.getblocking() for one in door.sockets)
    finally:
        door.close()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "0.0.0.0")]
)
def test_a_port_that_somebody_has_is_not_ours(family: int, host: str) -> None:
    """And nothing is left listening at the other address."""
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            on_port(port, Anyone())
        other = "::1" if ":" not in host else "127.0.0.1"
        with socket.socket(socket.AF_INET6 if ":" in other else socket.AF_INET) as free:
            free.bind((other, port))


def test_without_ipv6_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without6(socket.socket):
        def bind(self, address: object) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(99, "Cannot assign requested address")
            super().bind(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Without6)
    door = on_port(free_port(), Anyone())
    assert [one.family for one in door.sockets] == [socket.AF_INET]
    door.close()


def test_a_path_is_its_users_own_and_goes_with_the_door(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_bytes(b"what an earlier one left")
    door = on_path(str(path), None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not door.far
    door.close()
    assert not path.exists()
