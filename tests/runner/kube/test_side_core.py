"""What is said about the way to an agent: transcripts of cuts and returns."""

from __future__ import annotations

from runner.kube.side_core import Side

CUT = "link to node a cut: connections wait up to 60 s"


def test_a_cut_is_said_once_and_the_return_when_both_strands_are_back() -> None:
    side = Side("a")
    assert side.data_cut() == CUT
    assert side.founder_cut() == ""
    assert side.data_back(resumed=True) == ""
    assert side.founder_back(taken_over=True) == "link to node a is back, nothing was lost"
    assert side.up


def test_one_strand_alone() -> None:
    side = Side("a")
    assert side.founder_cut() == CUT
    assert side.founder_back(taken_over=True).endswith("nothing was lost")
    assert side.data_cut() == CUT
    assert side.data_back(resumed=True).endswith("nothing was lost")


def test_a_link_that_was_not_resumed_and_an_agent_that_knew_nothing_are_losses() -> None:
    for resumed, taken_over in ((False, True), (True, False), (False, False)):
        side = Side("a")
        side.founder_cut()
        side.data_cut()
        side.founder_back(taken_over=taken_over)
        assert side.data_back(resumed=resumed) == "link to node a is back, its connections were reset"


def test_a_loss_is_forgotten_with_the_cut_it_belongs_to() -> None:
    side = Side("a")
    side.data_cut()
    side.data_back(resumed=False)
    side.data_cut()
    assert side.data_back(resumed=True).endswith("nothing was lost")


def test_giving_up_is_said_once_and_makes_it_a_loss() -> None:
    side = Side("a")
    assert side.patience_over("why") == ""
    side.founder_cut()
    assert "still cut" in side.patience_over("no route")
    assert side.patience_over("no route") == ""
    assert side.founder_back(taken_over=False).endswith("its connections were reset")
    side.founder_cut()
    assert "no way" in side.patience_over("no way")


def test_a_strand_that_comes_back_before_the_cut_was_heard_of_says_nothing() -> None:
    assert Side("a").data_back(resumed=True) == ""
