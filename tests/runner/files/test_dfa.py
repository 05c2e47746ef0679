"""The table says what ``re`` says, for every pattern that it takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.files.dfa import MAGIC, NONE, compiled
from runner.files.nfa import NotRegular

LETTERS = "ab/."


def patterns() -> st.SearchStrategy[str]:
    """Of all that is regular, over a small alphabet so that matches are common."""
    single = ["a", "b", "/", r"\.", ".", "[ab]", "[^a]", r"\w", r"\d", "a-b", "(?i:A)", "^", "$", "[a-b/]"]
    counts = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])
    return st.recursive(
        st.sampled_from(single),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda ways: f"(?:{'|'.join(ways)})"),
            st.tuples(inner, counts).map(lambda two: f"(?:{two[0]}){two[1]}"),
        ),
        max_leaves=8,
    )


def said_by_re(several: list[str], path: bytes) -> int | None:
    for number, pattern in enumerate(several):
        if re.search(pattern.replace("$", r"\Z").encode(), path):
            return number
    return None


@given(
    st.lists(patterns(), min_size=1, max_size=3),
    st.lists(st.text(LETTERS + "A_1\n", max_size=6), min_size=1, max_size=8),
)
def test_the_first_that_re_finds(several: list[str], paths: list[str]) -> None:
    table = compiled(several)
    for path in paths:
        octets = path.encode()
        assert table.match(octets) == said_by_re(several, octets), (several, path)


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("^/etc/", ["/etc/x"], ["/usr/etc/x", "/etc"]),
        (r"\.so(\.\d+)*$", ["/lib/x.so", "/lib/x.so.6.1"], ["/x.socket", "/x.so.a"]),
        ("^/lib(64)?(/|$)", ["/lib", "/lib64/x"], ["/library", "/lib6"]),
        ("café", ["/café"], ["/cafe"]),
        ("(?i)readme", ["/README", "/ReadMe"], ["/read"]),
        ("a{3}", ["/aaa"], ["/aa"]),
        ("", ["", "/x"], []),
        ("^$", [""], ["/"]),
        ("x^y|z$w", [], ["xy", "zw", "x", "z"]),
    ],
)
def test_patterns_as_people_write_them(pattern: str, found: list[str], not_found: list[str]) -> None:
    table = compiled([pattern])
    assert [path for path in found if table.match(path.encode()) is None] == []
    assert [path for path in not_found if table.match(path.encode()) is not None] == []


def test_names_that_are_not_utf8() -> None:
    assert compiled(["^/a.b$"]).match(b"/a\xffb") == 0
    assert compiled(["^/a[^x]b$"]).match(b"/a\xffb") == 0


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)b", "looking ahead"),
        ("(?<!a)b", "looking ahead or back"),
        (r"(a)\1", "reference to a group"),
        (r"\ba", "word boundary"),
        ("(?>a*)b", "atomic group"),
        ("a++", "possessive"),
        ("[éa]", "ASCII"),
        ("(?m)^a", r"\(\?i\)"),
        ("a{20001}", "too large"),
    ],
)
def test_what_is_not_regular_is_refused_in_words(pattern: str, why: str) -> None:
    with pytest.raises(NotRegular, match=why) as refused:
        compiled(["fine", pattern])
    assert refused.value.__notes__ == ["pattern 1"]


def test_what_would_grow_without_bound_is_refused() -> None:
    with pytest.raises(NotRegular, match="more than 32768 states"):
        compiled(["a.{15}$", "b.{15}$"])


def test_packed() -> None:
    table = compiled(["^/a", r"\.b$"])
    octets = table.packed()
    assert octets.startswith(MAGIC)
    count, width = (int.from_bytes(octets[at : at + 2], "little") for at in (8, 10))
    assert (count, width) == (len(table.labels), table.width)
    at = 268 + 2 * count + (-2 * count % 4)
    assert len(octets) == at + 4 * count * width
    assert list(memoryview(octets[at:]).cast("I")) == [to * width for to in table.moves]
    assert NONE in table.labels
