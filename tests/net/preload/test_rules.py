"""What Python says of a path, the layer's C says."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.files.rules import Mode, Rules, Whose, Wishes
from tests.runner.files.test_program import inner

from .conftest import ROOT

Decided = tuple[str, Whose]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """rules.c and mapped.c by themselves."""
    made = tmp_path_factory.mktemp("rules") / "rules.so"
    sources = [str(ROOT / "layer/preload" / name) for name in ("rules.c", "mapped.c")]
    options = ["-O1", "-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover=all", f"-I{ROOT}"]
    subprocess.run(["gcc", *options, "-o", str(made), *sources], check=True)
    loaded = ctypes.CDLL(str(made))
    loaded.mapped_path.restype = ctypes.c_long
    return loaded


def walker(library: ctypes.CDLL, rules: Rules) -> Callable[[bytes], tuple[bytes, int]]:
    """For a path what it is mapped to, and whose that is."""
    octets = b"MRFILES1" + bytes(8) + rules.packed()
    file = ctypes.create_string_buffer(octets, len(octets))
    read = ctypes.create_string_buffer(512)
    assert library.rules_read(read, file, ctypes.c_size_t(len(octets)))

    def walk(path: bytes) -> tuple[bytes, int]:
        assert file.raw == octets
        out, winding = ctypes.create_string_buffer(4096), ctypes.c_bool()
        n = library.mapped_path(read, path, ctypes.c_size_t(len(path)), out, ctypes.c_size_t(4096))
        path = out.raw[:n] if n else path
        return path, library.rules_decide(read, path, ctypes.c_size_t(len(path)), ctypes.byref(winding))

    return walk


@settings(max_examples=150, deadline=None)
@given(inner(), inner(), st.lists(st.text("ab/", max_size=7), min_size=1, max_size=8))
def test_of_a_mapping_by_pattern_and_of_patterns(
    library: ctypes.CDLL, pattern: str, other: str, paths: list[str]
) -> None:
    if re.compile(pattern).groups > 5:
        return
    kept = "".join(rf"-\{n}" for n in range(1, re.compile(pattern).groups + 1))
    wishes = Wishes(
        local=(other,), read_only=("a",), mapped=((f"^/{pattern}", f"/b{kept}"), ("/a/a", "/b/b"))
    )
    rules = Rules(Mode.OVERRIDES, wishes)
    walk = walker(library, rules)
    for text in paths:
        path = f"/{text.strip('/')}"
        said = rules.decide(path)
        assert walk(path.encode()) == (said.path.encode(), said.whose), (pattern, other, path)
