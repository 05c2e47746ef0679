"""What /proc/self/status says about what the agent may do."""

from __future__ import annotations

from agent import capabilities


def status(effective: int) -> str:
    return f"Name:\tpython3\nCapInh:\t0\nCapPrm:\tffff\nCapEff:\t{effective:016x}\nCapBnd:\t0\n"


def test_all_there() -> None:
    bits = sum(1 << bit for bit in capabilities.NEEDED.values())
    assert capabilities.missing(status(bits)) == ()


def test_each_is_named() -> None:
    for name, bit in capabilities.NEEDED.items():
        assert capabilities.missing(status(~(1 << bit) & 0x1FFFFFFFFFF)) == (f"CAP_{name}",)


def test_nothing_to_enter() -> None:
    without = sum(1 << bit for name, bit in capabilities.NEEDED.items() if name != "SYS_ADMIN")
    assert capabilities.missing(status(without), beside=True) == ()
    assert capabilities.missing(status(0), beside=True) == ("CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_NET_RAW")


def test_dockers_default_has_only_one() -> None:
    assert capabilities.missing(status(0xA80425FB)) == ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN")


def test_the_machines_own_pid_namespace() -> None:
    assert capabilities.sees_the_whole_machine("pid:[4026531836]")
    assert not capabilities.sees_the_whole_machine("pid:[4026532201]")
