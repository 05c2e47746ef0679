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


def test_it_is_not_back_before_the_bridge_s_control_link_is() -> None:
    """What the app listens on goes by that link, so nothing is mirrored before."""
    side = Side("a")
    side.bridged()
    assert side.founder_cut() == CUT
    side.control_cut()
    assert side.founder_back(taken_over=True) == ""
    assert side.control_back() == "link to node a is back, nothing was lost"


def test_the_control_link_alone_is_not_worth_a_word() -> None:
    side = Side("a")
    side.bridged()
    side.control_cut()
    assert not side.up
    assert side.control_back() == ""
    assert side.up


def test_the_links_to_a_session_that_was_left_count_as_cut_before_it_is_heard_of() -> None:
    side = Side("a")
    side.bridged()
    assert side.founder_cut() == CUT
    side.founder_dials()
    assert side.founder_back(taken_over=False) == ""
    assert side.data_cut() == ""
    side.control_cut()
    assert side.control_back() == ""
    assert side.data_back(resumed=False) == "link to node a is back, its connections were reset"


def test_the_bridge_s_links_may_be_quicker_than_the_runner_s_welcome() -> None:
    side = Side("a")
    side.bridged()
    side.founder_cut()
    side.data_cut()
    side.control_cut()
    side.founder_dials()
    assert side.control_back() == ""
    assert side.data_back(resumed=False) == ""
    assert side.founder_back(taken_over=False) == "link to node a is back, its connections were reset"


def test_a_bridge_without_links_is_not_waited_for() -> None:
    side = Side("a")
    side.founder_cut()
    side.founder_dials()
    assert side.founder_back(taken_over=False) == "link to node a is back, its connections were reset"


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
