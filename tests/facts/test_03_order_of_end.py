"""Facts 3, 8, 9: an owned table dies with its owner's socket, whole; and a dying process closes its lowest fd last."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.facts.steal import lab, nft, owner, redirect
from tests.net.mirror.lab import TARGET4, TARGET6

pytestmark = pytest.mark.net


def accepted(process: subprocess.Popen[str]) -> None:
    """It has the connection, at the number that it is to have there."""
    assert process.stdout is not None
    assert process.stdout.readline() == "accepted\n"


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_who_is_connected_is_reset_if_the_owner_goes_last(target: str) -> None:
    with lab() as made, owner(made, redirect(80)) as process, made.connect(target, 80) as client:
        accepted(process)
        process.kill()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_and_hangs_if_the_owner_goes_first() -> None:
    with (
        lab() as made,
        owner(made, redirect(80), first=False) as process,
        made.connect(TARGET4, 80) as client,
    ):
        accepted(process)
        process.kill()
        process.wait()  # all its descriptors are closed
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_nothing_is_left_of_the_table() -> None:
    with lab() as made, owner(made, redirect(80)) as process:
        assert "table inet fact" in nft(made, "list", "ruleset")
        process.kill()
        process.wait()
        until = time.monotonic() + 5
        while nft(made, "list", "ruleset") and time.monotonic() < until:
            time.sleep(0.01)
        assert nft(made, "list", "ruleset") == ""
        with made.listen(TARGET4, 80) as listener, made.connect(TARGET4, 80), listener.accept()[0]:
            pass


def test_another_can_read_it_and_not_change_it() -> None:
    with lab() as made, owner(made, redirect(80)):
        for words in (["delete", "table", "inet", "fact"], ["add", "chain", "inet", "fact", "d"]):
            with pytest.raises(subprocess.CalledProcessError):
                nft(made, *words)
        nft(made, "flush", "ruleset")
        assert "redirect to :7000" in nft(made, "list", "ruleset")
