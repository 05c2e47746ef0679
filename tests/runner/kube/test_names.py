"""What TARGET says, in every spelling of kubectl's and mirrord's."""

from __future__ import annotations

import pytest

from runner.errors import Refusal
from runner.kube.names import KINDS, ROLLOUT, Wanted, is_kind, kind_of, understood


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("pod pods po", "pod"),
        (
            "deploy deployment deployments deployments.apps deployment.apps deployments.v1.apps Deployment",
            "deploy",
        ),
        ("sts statefulset statefulsets statefulsets.apps", "sts"),
        ("ds daemonset daemonsets daemonsets.apps", "ds"),
        ("rs replicaset replicasets replicasets.apps", "rs"),
        ("job jobs jobs.batch job.v1.batch", "job"),
        ("cj cronjob cronjobs cronjobs.batch", "cronjob"),
        ("ro rollout rollouts rollouts.argoproj.io rollouts.v1alpha1.argoproj.io", "rollout"),
        ("svc service services", "svc"),
    ],
)
def test_every_word_of_kubectl_s(words: str, kind: str) -> None:
    for word in words.split():
        assert understood(f"{word}/cart") == Wanted(kind, "cart")


def test_no_word_means_two_kinds() -> None:
    words = [word for kind in KINDS for word in set(kind.words)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cart", Wanted("", "cart")),
        ("deploy/cart/server", Wanted("deploy", "cart", "server")),
        ("deployment/cart/container/server", Wanted("deploy", "cart", "server")),
        ("pod/cart-6d4f/container/server", Wanted("pod", "cart-6d4f", "server")),
        ("targetless", Wanted("targetless")),
        ("label=app=cart,tier notin (db)", Wanted("selector", selector="app=cart,tier notin (db)")),
        ("pod/db.0", Wanted("pod", "db.0")),
        ("", Wanted("pod", "only-this")),
    ],
)
def test_the_forms(text: str, wanted: Wanted) -> None:
    pod = "" if text else "only-this"
    found = understood(text, pod=pod)
    assert (found.kind, found.name, found.container, found.selector) == (
        wanted.kind,
        wanted.name,
        wanted.container,
        wanted.selector,
    )
    assert found.pod == pod


def test_the_options_beside_it() -> None:
    found = understood("deploy/cart", container="server", pod="cart-1", namespace="shop")
    assert found == Wanted("deploy", "cart", "server", "", "cart-1", "shop")
    assert understood("", selector="app in (a, b)", namespace="shop") == Wanted(
        "selector", selector="app in (a, b)", namespace="shop"
    )
    assert understood("deploy/cart/server", container="server").container == "server"
    assert understood("", targetless=True) == Wanted("targetless")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "no target"),
        ("/", {}, "not a kind"),
        ("deploy/", {}, "name of the deploy is missing"),
        ("deploy/cart/", {}, "name of the container is missing"),
        ("deploy/../secrets", {}, "'..'"),
        ("deploy/cart/container/a/b", {}, "not understood"),
        ("node/one", {}, "not a kind"),
        ("container/api", {}, "not a kind"),
        ("Cart", {}, "'Cart'"),
        ("deploy/cart/a", {"container": "b"}, "-c b"),
        ("deploy/cart", {"selector": "app=x"}, "-l app=x"),
        ("deploy/cart", {"targetless": True}, "--targetless"),
        ("targetless", {"container": "a"}, "--targetless"),
        ("", {"targetless": True, "selector": "a=b"}, "--targetless"),
        ("deploy/cart", {"namespace": "a/b"}, "namespace"),
        ("deploy/" + "a" * 254, {}, "name of a deploy"),
    ],
)
def test_what_is_not_understood_is_said_with_what_can_be_written(
    text: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(Refusal) as refused:
        understood(text, **options)  # type: ignore[arg-type]
    assert said in refused.value.what
    assert refused.value.next_step


def test_a_slip_of_the_pen_is_asked_about() -> None:
    with pytest.raises(Refusal) as refused:
        understood("deplyment/cart")
    assert "did you mean deploy/cart?" in refused.value.next_step
    assert "rollout/NAME" in refused.value.next_step


def test_what_is_no_plain_container() -> None:
    assert all(is_kind(text) for text in ("deploy/x", "Pods/x", "targetless", "label=a=b", "svc/x/c"))
    assert not any(is_kind(text) for text in ("container/x", "compose/a/b", "x", "deploy"))


def test_paths_of_the_api() -> None:
    pods = kind_of("po")
    assert pods is not None
    assert pods.path("shop", "a") == "/api/v1/namespaces/shop/pods/a"
    assert pods.path() == "/api/v1/pods"
    assert ROLLOUT.path("shop") == "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts"
