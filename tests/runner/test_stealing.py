"""What --steal asks of an agent, what it refuses, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner import stealing
from runner.chosen import Choice
from runner.config import RunOptions
from runner.errors import Refusal
from runner.present import Present
from runner.stolen import Theft
from wire.messages import AppPort, Choose, Chosen, Condition, Filter, Proto, Steal, Stealing, Stolen

PLAIN = RunOptions("container/api", steal=True)


def test_nothing_and_whole_ports() -> None:
    assert stealing.wish(replace(PLAIN, steal=False)) is None
    assert stealing.wish(PLAIN) == Steal(0)


def test_without_steal_filters_choose_what_is_mirrored() -> None:
    asked = replace(PLAIN, steal=False, http_paths=("^/api",))
    assert stealing.wish(asked, (b"\1\2\3\4",)) == Choose(0, (Filter((Condition(1, "^/api"),)),))
    assert stealing.filtered(asked)
    assert not stealing.filtered(PLAIN)


def test_all_conditions_are_one_filter_and_methods_are_alternatives() -> None:
    asked = replace(
        PLAIN,
        http_headers=("^x-user: ada$", "baggage: .*k7"),
        http_paths=("/api",),
        http_methods=("get", "POST"),
    )
    wish = stealing.wish(asked)
    assert wish is not None
    conditions = (
        Condition(0, "^x-user: ada$"),
        Condition(0, "baggage: .*k7"),
        Condition(1, "/api"),
        Condition(2, "^(?:GET|POST)$"),
    )
    assert wish.filters == (Filter(conditions),)
    assert stealing.described(asked) == (
        "requests where a header matches ^x-user: ada$ and a header matches baggage: .*k7 and the path matches /api "
        "and the method is GET or POST"
    )


def test_the_other_options() -> None:
    asked = replace(
        PLAIN,
        steal_existing=True,
        steal_probes=True,
        steal_local=True,
        on_app_gone="reset",
        on_link_lost_after=0.5,
        drain=60.0,
        mesh_uids=(101,),
    )
    expected = Steal(0, (), 2, 500, 60, True, True, True, (b"\1\2\3\4",), (), (101,))
    assert stealing.wish(asked, (b"\1\2\3\4",)) == expected


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"http_headers": ("x-user: (ada",)}, "is no regular expression"),
        ({"http_paths": ("/a(?=b)",)}, "looks around"),
        ({"http_paths": (r"/(a)\1",)}, "refers back"),
        ({"http_paths": ("/(?P<x>a)(?P=x)",)}, "refers back"),
        ({"http_paths": ("/(?>a)",)}, "looks around"),
        ({"http_headers": ("",)}, "is empty"),
        ({"http_methods": ("GE T",)}, "is no method"),
        ({"steal": False, "steal_local": True}, "--steal-local"),
        ({"steal": False, "mesh_uids": (7,)}, "--mesh-uid is"),
    ],
)
def test_refusals(more: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        stealing.wish(replace(PLAIN, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "regex", [r"\(?=", r"[(?=]", r"a\\1b", r"(?i)x", r"(?:a|b)", r"(?P<x>a)", r"\d{1,3}"]
)
def test_what_only_looks_like_it(regex: str) -> None:
    assert stealing.wish(replace(PLAIN, http_paths=(regex,))) is not None


# --- what is said ---------------------------------------------------------------------------------------------------

EIGHTY = (AppPort(Proto.TCP, 8080, 80),)


def test_ports_of_several_containers_are_one_line() -> None:
    theft = Theft("compose/api")
    theft.notice(Stealing(0, EIGHTY))
    theft.notice(Stealing(1, EIGHTY))
    line = theft.line()
    assert line is not None
    assert line.startswith("stealing ")
    assert line.endswith(" of compose/api (2 containers)")
    assert theft.line() is None
    theft.notice(Stealing(0, ()))
    theft.notice(Stealing(1, ()))
    assert theft.line() == f"no longer {line}"


def test_a_filter_is_said_with_them() -> None:
    theft = Theft("api", "requests where the path matches /x")
    theft.notice(Stealing(0, EIGHTY))
    assert str(theft.line()).endswith("of api: requests where the path matches /x; all others stay with it")


def test_what_stands_in_the_way_is_said_once() -> None:
    theft = Theft("api", "filtered")
    theft.notice(Stealing(0, (), "port 80 of api is stolen by anna"))
    theft.counted(Stolen(0, 80, older=3, tls=1))
    first, second, third = theft.warnings()
    assert first == "port 80 of api is stolen by anna"
    assert second.startswith("3 connections to 80 of api were open before")
    assert "TLS" in third
    theft.counted(Stolen(0, 80, older=4, tls=9))
    assert theft.warnings() == []


def test_the_sum_is_of_all_containers_those_that_are_gone_too() -> None:
    theft = Theft("api", "filtered")
    theft.counted(Stolen(0, 80, seen=3, last="GET /a HTTP/1.1"))
    theft.counted(Stolen(1, 80, seen=4, last="GET /b HTTP/1.1"))
    theft.gone(0)
    assert theft.summary() == ["none of 7 requests to 80 matched; the last was GET /b HTTP/1.1"]
    theft.counted(Stolen(1, 80, seen=5, matched=1))
    assert theft.summary() == ["1 of 8 requests to 80 matched, and was stolen"]


def test_any_of_several_filters() -> None:
    asked = replace(
        PLAIN,
        http_paths=("^/a",),
        http_filters=('{"header": ["^x: 1", "^y: 2"], "path": "^/b"}', '{"method": ["get", "put"]}'),
    )
    wish = stealing.wish(asked)
    assert wish is not None
    assert wish.filters == (
        Filter((Condition(1, "^/a"),)),
        Filter((Condition(0, "^x: 1"), Condition(0, "^y: 2"), Condition(1, "^/b"))),
        Filter((Condition(2, "^(?:GET|PUT)$"),)),
    )
    assert stealing.described(asked) == (
        "requests where the path matches ^/a, or a header matches ^x: 1 and a header matches ^y: 2 "
        "and the path matches ^/b, or the method is GET or PUT"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("header=x", "no JSON"),
        ("[]", "no mapping"),
        ("{}", "no mapping"),
        ('{"host": "x"}', "no mapping of header, path and method"),
        ('{"path": 1}', "no text"),
        ('{"path": "("}', "no regular expression"),
    ],
)
def test_what_is_no_filter_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        stealing.wish(replace(PLAIN, http_filters=(text,)))


def test_what_a_choice_says() -> None:
    choice = Choice("api")
    assert (choice.warnings(), choice.summary()) == ([], [])
    choice.counted(Chosen(0, 80, 3, 0, last="GET /a HTTP/1.1"))
    assert choice.summary() == ["none of 3 requests to 80 matched; the last was GET /a HTTP/1.1"]
    choice.counted(Chosen(1, 80, 1, 1, last="GET /b HTTP/1.1"))
    choice.gone(0)
    choice.counted(Chosen(1, 443, tls=2))
    choice.counted(Chosen(1, 6379, other=1))
    assert choice.summary() == ["1 of 4 requests to 80 matched, and was copied"]
    tls, other = choice.warnings()
    assert "443 of api speak TLS" in tls
    assert "6379 of api" in other
    choice.counted(Chosen(1, 443, tls=3))
    assert choice.warnings() == []


def test_what_is_mirrored_by_a_filter_is_said_so() -> None:
    mirrored = Present("mirroring", "api", "requests where the path matches /x")
    mirrored.notice(0, EIGHTY)
    line = mirrored.line()
    assert line is not None
    assert line.startswith("mirroring ")
    assert line.endswith(": requests where the path matches /x")
    mirrored.notice(0, ())
    assert mirrored.line() == f"no longer {line.split(':')[0]}"
