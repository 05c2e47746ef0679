"""Which MirrorSessions let their holder in, and how long."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest

from agent import warrant_core
from agent.warrant_core import Denied, Lapses
from agent.warrants import Limits

Json = dict[str, Any]

SECRET = b"s" * 32
NODE = "n1"
ID = "ab" * 32


def session(created: str = "2026-01-01T10:00:20Z", **spec: Any) -> Json:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "cart-x",
            "uid": "u-1",
            "resourceVersion": "7",
            "creationTimestamp": created,
        },
        "spec": {
            "author": "anna",
            "target": "deploy/cart",
            "mode": "mirror",
            "rights": ["mirror", "env"],
            "secretHash": hashlib.sha256(SECRET).hexdigest(),
        }
        | spec,
    }


def policy(**metadata: Any) -> Json:
    return {
        "metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"} | metadata,
        "spec": {"validations": ["…"]},
    }


def binding(**metadata: Any) -> Json:
    return {"metadata": {"creationTimestamp": "2026-01-01T10:00:05Z"} | metadata, "spec": {"policyName": "x"}}


def parameters(**spec: Any) -> Json:
    return {"spec": {"agentNamespace": "mirror-run"} | spec}


EXPECTED = hashlib.sha256(
    json.dumps([policy()["spec"], binding()["spec"]], sort_keys=True, separators=(",", ":")).encode()
).hexdigest()


def judge(
    one: Json | None, by: Json | None, bound: Json | None, limits: Json | None = None
) -> warrant_core.Judged:
    return warrant_core.judge(one, by, bound, limits or parameters(), EXPECTED)


def test_a_judged_session_is_taken_as_it_stands() -> None:
    judged = judge(session(), policy(), binding())
    assert (judged.namespace, judged.name, judged.uid) == ("shop", "cart-x", "u-1")
    assert judged.rights == {"mirror", "env"}
    assert judged.limits == Limits(metadata_addresses=False)
    assert judged.seconds == 0


def test_limits_are_the_clusters() -> None:
    said = parameters(
        longestSessionSeconds=3600, connections=100, bytesPerSecond=10**6, metadataAddresses=True
    )
    judged = judge(session(), policy(), binding(), said)
    assert judged.seconds == 3600
    assert judged.limits == Limits(100, 10**6, metadata_addresses=True)


def test_only_its_secret_proves_a_session() -> None:
    assert warrant_core.proves(SECRET, session())
    assert not warrant_core.proves(b"t" * 32, session())
    assert not warrant_core.proves(SECRET, None)
    assert not warrant_core.proves(b"", session(secretHash=""))
    # The hash is no secret: whoever can read the object must not be able to use it.
    assert not warrant_core.proves(hashlib.sha256(SECRET).digest(), session())


@pytest.mark.parametrize(
    ("by", "bound", "words"),
    [
        (None, binding(), "ValidatingAdmissionPolicy mirror-run-sessions is missing"),
        (policy(), None, "ValidatingAdmissionPolicyBinding mirror-run-sessions is missing"),
        (
            policy() | {"spec": {"validations": []}},
            binding(),
            "is not the one these agents were installed with",
        ),
        (
            policy(),
            binding() | {"spec": {"policyName": "y"}},
            "is not the one these agents were installed with",
        ),
        (policy() | {"spec": None}, binding(), "is not the one these agents were installed with"),
    ],
)
def test_without_the_policy_nothing_counts(by: Json | None, bound: Json | None, words: str) -> None:
    with pytest.raises(Denied, match=words):
        judge(session(), by, bound)


def test_without_parameters_nothing_counts() -> None:
    with pytest.raises(Denied, match="mirrorpolicy default is missing"):
        warrant_core.judge(session(), policy(), binding(), None, EXPECTED)


@pytest.mark.parametrize(
    ("created", "counts"),
    [
        ("2026-01-01T09:59:00Z", False),
        ("2026-01-01T10:00:05Z", False),
        ("2026-01-01T10:00:14Z", False),
        ("2026-01-01T10:00:15Z", True),
    ],
)
def test_a_session_older_than_the_policy_was_judged_by_nobody(created: str, counts: bool) -> None:
    """10 s after the younger of the two objects."""
    if counts:
        judge(session(created), policy(), binding())
    else:
        with pytest.raises(Denied, match="nobody judged it: run again"):
            judge(session(created), policy(), binding())


def test_a_policy_that_was_changed_and_changed_back_counts_from_then() -> None:
    changed = policy(managedFields=[{"manager": "kubectl-edit", "time": "2026-01-01T10:00:15Z"}])
    with pytest.raises(Denied, match="nobody judged it"):
        judge(session(), changed, binding())
    by_its_controller = policy(
        managedFields=[{"manager": "kcm", "subresource": "status", "time": "2026-01-01T10:00:19Z"}]
    )
    judge(session(), by_its_controller, binding())


def test_a_session_that_is_going_lets_nobody_in() -> None:
    going = session()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z"
    with pytest.raises(Denied, match="is being deleted"):
        judge(going, policy(), binding())
    with pytest.raises(Denied):
        judge(None, policy(), binding())


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("", "x"),
        ("shop", ""),
        ("shop/../../..", "x"),
        ("shop", "../../../../api/v1/secrets"),
        ("shop", "x?watch=1"),
        ("shop", "x/status"),
        ("Shop", "x"),
        ("shop", "x\n"),
        ("s" * 64, "x"),
        ("shop", "x" * 254),
        ("shop", "ⅰ"),
    ],
)
def test_what_is_no_name_never_becomes_a_path(namespace: str, name: str) -> None:
    with pytest.raises(Denied):
        warrant_core.path_of(namespace, name)
    with pytest.raises(Denied):
        warrant_core.pod_path("shop", name if namespace == "shop" else namespace + "!")


def test_names_become_paths() -> None:
    assert warrant_core.path_of("shop", "cart.a-x7").endswith("/namespaces/shop/mirrorsessions/cart.a-x7")
    assert warrant_core.pod_path("shop", "cart-0") == "/api/v1/namespaces/shop/pods/cart-0"


def pod(node: str = NODE, container: str = ID, kind: str = "containerStatuses", **spec: Any) -> Json:
    return {
        "metadata": {"namespace": "shop", "name": "cart-0", "uid": "p-1"},
        "spec": {"nodeName": node} | spec,
        "status": {kind: [{"name": "web", "containerID": f"containerd://{container}"}]},
    }


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_a_container_of_the_pod_may_be_entered(kind: str) -> None:
    assert warrant_core.container_of(pod(kind=kind), "shop", "cart-0", NODE, ID) == "web"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "pod shop/cart-0 does not exist"),
        (pod(node="n2"), "is not on node n1"),
        (pod(node=""), "is not on node n1"),
        (pod(container="cd" * 32), "has no container abababababab"),
        (pod(container=""), "has no container abababababab"),
        (pod(hostNetwork=True), "shares its node's network"),
    ],
)
def test_no_other_container_may(found: Json | None, words: str) -> None:
    with pytest.raises(Denied, match=words):
        warrant_core.container_of(found, "shop", "cart-0", NODE, ID)


def test_a_lease_lapses_by_this_clock_alone() -> None:
    """Whatever time its runner writes: only whether it changes counts."""
    lapses = Lapses()
    one = session() | {"status": {"renewTime": "1999-01-01T00:00:00Z"}}
    assert lapses.lapsed([one], 100.0) == []
    assert lapses.lapsed([one], 159.9) == []
    renewed = copy.deepcopy(one) | {"status": {"renewTime": "1999-01-01T00:00:10Z"}}
    assert lapses.lapsed([renewed], 160.0) == []
    assert lapses.lapsed([renewed], 219.9) == []
    assert lapses.lapsed([renewed], 220.0) == [renewed]


def test_a_session_that_was_never_renewed_lapses_too() -> None:
    lapses = Lapses()
    assert lapses.lapsed([session()], 0.0) == []
    assert lapses.lapsed([session()], 60.0) == [session()]


def test_what_is_gone_is_forgotten() -> None:
    lapses = Lapses()
    lapses.lapsed([session()], 0.0)
    assert lapses.lapsed([], 30.0) == []
    assert lapses.lapsed([session()], 60.0) == []
