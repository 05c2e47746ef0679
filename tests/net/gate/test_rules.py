"""The text of the rules: as it is kept beside this file, and as nft takes it."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from tests.net.gate.lab import OUT, ROOT, Lab
from tests.net.mirror.lab import run

pytestmark = pytest.mark.net

GOLDEN = Path(__file__).with_name("rules.golden")
SIZE = 1 << 16


class Port(ctypes.Structure):
    _fields_ = (("port", ctypes.c_uint16), ("door", ctypes.c_uint16), ("local", ctypes.c_bool))


@pytest.fixture(scope="module")
def rules() -> ctypes.CDLL:
    OUT.mkdir(parents=True, exist_ok=True)
    library = OUT / "rules.so"
    source = ROOT / "agent" / "gate" / "rules.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", f"-I{ROOT}", str(source), "-o", str(library)], check=True
    )
    loaded = ctypes.CDLL(str(library))
    for function in (loaded.rules_table, loaded.rules_swap, loaded.rules_meshes, loaded.rules_comment_of):
        function.restype = ctypes.c_bool
    return loaded


def table(rules: ctypes.CDLL, comment: str, *, forgets: bool = True) -> str:
    out = ctypes.create_string_buffer(SIZE)
    assert rules.rules_table(comment.encode(), ctypes.c_bool(forgets), out, ctypes.c_size_t(SIZE))
    return out.value.decode()


def swap(rules: ctypes.CDLL, *ports: tuple[int, int, bool]) -> str:
    out = ctypes.create_string_buffer(SIZE)
    assert rules.rules_swap(
        (Port * len(ports))(*ports), ctypes.c_size_t(len(ports)), out, ctypes.c_size_t(SIZE)
    )
    return out.value.decode()


def meshes(rules: ctypes.CDLL, *uids: int) -> str:
    out = ctypes.create_string_buffer(SIZE)
    given = (ctypes.c_uint32 * len(uids))(*uids)
    assert rules.rules_meshes(given, ctypes.c_size_t(len(uids)), out, ctypes.c_size_t(SIZE))
    return out.value.decode()


def test_the_text_is_the_one_that_was_judged(rules: ctypes.CDLL) -> None:
    text = (
        table(rules, "anna since 14:02 (session k3f)")
        + swap(rules)
        + meshes(rules)
        + meshes(rules, 101, 4294967294)
        + swap(rules, (80, 10080, False), (9000, 19000, True))
    )
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("comment", ["", 'an "un\\quoted" name\n}', "ö" * 200])
def test_nft_takes_it(lab: Lab, rules: ctypes.CDLL, comment: str) -> None:
    ports = [(port, 10000 + port, port % 2 == 0) for port in range(1, 1025)]
    for forgets in (True, False):
        text = table(rules, comment, forgets=forgets) + swap(rules, *ports)
        text += meshes(rules, 7) + meshes(rules)
        assert ("ct timeout" in text) == forgets
        run("ip", "netns", "exec", lab.target, "nft", "-c", "-f", "-", stdin=text)


def test_what_does_not_fit_is_said(rules: ctypes.CDLL) -> None:
    out = ctypes.create_string_buffer(100)
    assert not rules.rules_table(b"anna", ctypes.c_bool(True), out, ctypes.c_size_t(100))
    assert not rules.rules_swap((Port * 1)((80, 81, True)), ctypes.c_size_t(1), out, ctypes.c_size_t(10))


def test_a_comment_is_found_again(rules: ctypes.CDLL) -> None:
    out = ctypes.create_string_buffer(200)
    listed = table(rules, "anna since 14:02").encode()
    assert rules.rules_comment_of(listed, out, ctypes.c_size_t(200))
    assert out.value == b"anna since 14:02"
    assert not rules.rules_comment_of(b"table inet x {}", out, ctypes.c_size_t(200))
