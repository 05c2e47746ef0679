"""A mapping by pattern does what ``re`` does of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Refusal
from runner.files.nfa import NotRegular
from runner.files.program import compiled
from runner.files.rules import Mode, Rules, Wishes


@pytest.mark.parametrize(
    ("pattern", "template", "path", "becomes"),
    [
        ("^/home/([^/]+)/conf", r"/etc/\1", "/home/ada/conf/x", "/etc/ada/x"),
        (
            r"^/app/(?:config|conf)/(.*)\.local\.(yaml|json)$",
            r"/etc/\1.\2",
            "/app/conf/a.local.json",
            "/etc/a.json",
        ),
        ("^/a(b*?)(b*)c", r"/\2-\1", "/abbbc/d", "/bbb-/d"),
        ("^/(x|xy)(z|yz)", r"/\1/\2", "/xyz", "/x/yz"),
        ("^/(?i:readme)$", "/R", "/ReadMe", "/R"),
        ("^/é(.)$", r"/\1", "/éa", "/a"),
        ("^/(a)|b", r"/\1", "/other", None),
        ("^/a{2,3}(a?)", r"/\1!", "/aaaa", "/a!"),
    ],
)
def test_as_people_write_them(pattern: str, template: str, path: str, becomes: str | None) -> None:
    said = compiled(pattern, template).mapped(path.encode())
    assert said == (None if becomes is None else becomes.encode())


def inner() -> st.SearchStrategy[str]:
    single = st.sampled_from(["a", "b", "/", ".", "[ab]", "[^a]", "(a)", "(b|ab)", "$"])
    counts = st.sampled_from(["*", "+", "?", "{1,2}", "*?", "??"])
    return st.recursive(
        single,
        lambda one: st.one_of(
            st.lists(one, min_size=1, max_size=3).map("".join),
            st.lists(one, min_size=2, max_size=2).map(lambda ways: f"(?:{'|'.join(ways)})"),
            st.tuples(st.sampled_from(["a", "b", "(?:ab)", "[ab/]"]), counts).map("".join),
        ),
        max_leaves=6,
    )


@given(inner(), st.lists(st.text("ab/", max_size=7), min_size=1, max_size=6))
def test_what_re_says(pattern: str, paths: list[str]) -> None:
    whole = f"^/{pattern}"
    groups = re.compile(whole).groups
    if groups > 5:
        return
    template = "/t" + "".join(rf"-\{n}" for n in range(1, groups + 1))
    made = compiled(whole, template)
    for path in paths:
        octets = f"/{path}".encode()
        found = re.search(whole.replace("$", r"\Z").encode(), octets)
        parts = [] if found is None else [b"-" + (one or b"") for one in found.groups()]
        expected = None if found is None else b"/t" + b"".join(parts) + octets[found.end() :]
        assert made.mapped(octets) == expected, (whole, octets)


@pytest.mark.parametrize(
    ("pattern", "template", "why"),
    [
        ("^/(a)(b)(c)(d)(e)(f)", "/", "5"),
        ("^/(a)", r"/\2", "no group 2"),
        (r"^/(a)\1", "/", "reference to a group"),
        ("^/" + "a" * 300, "/", "200 steps"),
    ],
)
def test_what_cannot_be_is_said(pattern: str, template: str, why: str) -> None:
    with pytest.raises(NotRegular, match=why):
        compiled(pattern, template)
    with pytest.raises(Refusal, match="mapping"):
        _ = Rules(Mode.READ, Wishes(mapped=((pattern, template),))).programs


def test_rules_are_asked_of_what_it_becomes() -> None:
    wishes = Wishes(
        read_only=("^/srv/",), mapped=(("^/home/[^/]+/app/(.*)", r"/srv/\1"), ("/app", "/opt/app"))
    )
    rules = Rules(Mode.OVERRIDES, wishes)
    assert rules.decide("/home/ada/app/x/y").why == "your pattern ^/srv/, as /srv/x/y"
    assert rules.decide("/app/z").path == "/opt/app/z"
