"""Which variables reach the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import environ
from runner.errors import Refusal

TARGET = [
    b"DATABASE_URL=postgres://db/x?a=b=c",
    b"PATH=/opt/bin",
    b"HOME=/srv",
    b"LD_PRELOAD=/lib/spy.so",
    b"NODE_OPTIONS=--inspect",
    b"JAVA_TOOL_OPTIONS=-agentlib:x",
    b"TMPDIR=/scratch",
    b"TERM=xterm",
    b"EMPTY=",
    b"BYTES=\xff\xfe",
]


def chosen(*own: bytes, include: str = "", exclude: str = "") -> dict[bytes, bytes]:
    found = environ.choose(TARGET, own, environ.wishes(include, exclude))
    return dict(variable.split(b"=", 1) for variable in found.variables)


def test_the_service_s_variables_come_and_the_container_s_stay() -> None:
    assert chosen() == {b"DATABASE_URL": b"postgres://db/x?a=b=c", b"EMPTY": b"", b"BYTES": b"\xff\xfe"}


def test_how_many_is_counted() -> None:
    found = environ.choose(TARGET, [b"MINE=1"])
    assert (found.kept, found.left_out) == (3, 7)


def test_the_user_s_own_win_even_over_what_is_left_out() -> None:
    found = chosen(b"DATABASE_URL=mine", b"PATH=/mine")
    assert (found[b"DATABASE_URL"], found[b"PATH"]) == (b"mine", b"/mine")


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        ("DATA*", "", {b"DATABASE_URL"}),
        ("DATA*;EMPTY", "", {b"DATABASE_URL", b"EMPTY"}),
        ("DATA*, EMPTY", "", {b"DATABASE_URL", b"EMPTY"}),
        ("PATH", "", {b"PATH"}),  # an exact name is a wish
        ("*", "", {b"DATABASE_URL", b"EMPTY", b"BYTES"}),  # a wildcard is none for what is the container's
        ("", "DATA*", {b"EMPTY", b"BYTES"}),
        ("data*", "", set()),  # names are case-sensitive (environ(7))
    ],
)
def test_include_and_exclude(include: str, exclude: str, names: set[bytes]) -> None:
    assert set(chosen(include=include, exclude=exclude)) == names


def test_given_as_docker_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=1\n  B= spaced \nFROM_CALLER\nABSENT\nA=2\n")
    found = environ.given(["A=3", "FROM_CALLER", "EQUALS=a=b"], [str(file)], {"FROM_CALLER": "yes"})
    assert dict(variable.split(b"=", 1) for variable in found) == {
        b"A": b"3",
        b"B": b" spaced ",
        b"FROM_CALLER": b"yes",
        b"EQUALS": b"a=b",
    }


@pytest.mark.parametrize("text", ["=value", " A=1", "A =1", ""])
def test_what_is_no_variable_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        environ.given([text], [], {})
    assert "NAME=value" in refused.value.next_step


def test_a_missing_env_file_is_named() -> None:
    with pytest.raises(Refusal, match="/nowhere/env"):
        environ.given([], ["/nowhere/env"], {})


def variables(wanted: environ.Wishes, *own: bytes, images: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    return environ.choose([b"A_TIMEOUT=5", b"DB_URL=x", b"N\xffME=\xfe"], own, wanted, images).variables


def test_include_and_exclude_together_are_refused_with_the_reason() -> None:
    with pytest.raises(Refusal, match="leaves out all that it does not name") as refused:
        environ.wishes("A", "B")
    assert "one of them" in (refused.value.next_step or "")


def test_mapped_by_name() -> None:
    wanted = environ.wishes(mappings=[".+_TIMEOUT=10000", r"(\w+)_URL=http://\1.test/?a=b", ".*=never"])
    assert variables(wanted) == (b"A_TIMEOUT=10000", b"DB_URL=http://DB.test/?a=b", b"N\xffME=never")
    assert variables(wanted, b"A_TIMEOUT=mine")[0] == b"A_TIMEOUT=mine"
    assert (
        variables(environ.wishes(mappings=["TIMEOUT=1"]))[0] == b"A_TIMEOUT=5"
    )  # the whole name, or not at all


@pytest.mark.parametrize("text", ["NO_EQUALS", "=value", "(=x", r"A=\1", r"(A)=\2", r"A=\g<no>"])
def test_what_maps_nothing_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="--map-env") as refused:
        environ.wishes(mappings=[text])
    assert "PATTERN=VALUE" in (refused.value.next_step or "")


def test_unset_is_out_of_the_image_too_unless_the_user_gave_it() -> None:
    wanted = environ.wishes(unset=["A_*;DB_URL", "I"])
    images = (b"A_IMAGE=1", b"I=1", b"J=1")
    assert variables(wanted, b"DB_URL=mine", images=images) == (
        b"A_IMAGE",
        b"A_TIMEOUT",
        b"I",
        b"N\xffME=\xfe",
        b"DB_URL=mine",
    )


def test_values_of_several_lines_and_with_equals_pass_whole() -> None:
    given = environ.given(["CERT=-----BEGIN\nabc=\n-----END", "E="], [], {})
    assert given == (b"CERT=-----BEGIN\nabc=\n-----END", b"E=")
    assert environ.choose([b"M=a\nb=c\n"], given).variables == (b"M=a\nb=c\n", *given)
