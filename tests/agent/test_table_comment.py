"""A table's words always fit, and say as much as they can."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.table_comment import INSTALLED, MOST, in_the_way, looked_at, stolen

names = st.text(max_size=300)


def test_what_fits_is_said_whole() -> None:
    said = stolen("cart", "anna", "14:02", "k3f", "a Job of its own")
    assert said == "cart is stolen by anna since 14:02 (session k3f, a Job of its own)"
    assert stolen("cart", "anna", "14:02", "k3f", "") == "cart is stolen by anna since 14:02 (session k3f)"


def test_long_names_are_cut_where_least_is_lost() -> None:
    said = stolen(
        "cart-777cc8d647-z5pq7", "kubernetes-admin", "10:29", "cart-777cc8d647-z5pq7-n9x7g", INSTALLED
    )
    assert len(said) <= MOST
    assert said.startswith("cart-777cc8d647-z5pq")
    assert " is stolen by kubernetes-admin since 10:29 (session .." in said
    assert said.endswith("z5pq7-n9x7g, the installed agent)")


@given(names, names, names, st.sampled_from(["", INSTALLED, "an ephemeral container"]))
def test_whatever_the_names(of: str, who: str, session: str, kind: str) -> None:
    for said in (stolen(of, who, "23:59", session, kind), looked_at(of, who, session)):
        assert len(said.encode()) <= MOST
        assert said.endswith(")")


def test_how_several_can() -> None:
    own = stolen("cart", "anna", "14:02", "k3f", "a Job of its own")
    assert in_the_way(own) == f"{own}; several at once need `mirror-run install`"
    theirs = stolen("cart", "anna", "14:02", "cart-x", INSTALLED)
    assert in_the_way(theirs).endswith("have to come by it: leave out --agent")
