"""What agents' objects say, field by field where a field is a promise: privileges, tokens, names, ends."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import capabilities
from runner.kube import manifests
from runner.kube.manifests import Marks

MARKS = Marks("5e55", "anna@corp.example", "deploy/cart")
IMAGE = "registry.example/mirror-run-agent:1"

LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
"""k8s.io/apimachinery/pkg/util/validation: labelValueFmt."""


def job(**more: Any) -> dict[str, Any]:
    main = manifests.container(IMAGE, manifests.arguments(61_000, "ab" * 32, ["u1", "u2"], "INFO"))
    return manifests.job("mirror-run-5e55-0", "n1", main, MARKS, **more)


def pod(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = job(**more)["spec"]["template"]["spec"]
    return found


@given(st.text(max_size=200))
def test_any_text_becomes_a_labels_value(text: str) -> None:
    made = manifests.safe_label(text)
    assert LABEL_VALUE.fullmatch(made)
    assert len(made) <= 63


def test_a_good_value_stays_as_it_is() -> None:
    assert manifests.safe_label("cart-v1.2_x") == "cart-v1.2_x"


def test_privileges_are_listed_one_by_one() -> None:
    security = pod()["containers"][0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": list(capabilities.NEEDED)}
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (security["runAsUser"], security["runAsNonRoot"]) == (0, False)


def test_the_pod_sees_the_nodes_processes_and_nothing_else_of_it() -> None:
    spec = pod()
    assert spec["hostPID"] is True
    assert spec["hostNetwork"] is False
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec
    assert "serviceAccountName" not in spec


def test_it_is_tried_once_on_that_node_whatever_its_taints() -> None:
    made = job(ttl=7)
    assert made["spec"]["backoffLimit"] == 0
    assert made["spec"]["ttlSecondsAfterFinished"] == 7
    assert made["spec"]["activeDeadlineSeconds"] == manifests.STARTS_WITHIN
    spec = made["spec"]["template"]["spec"]
    assert (spec["nodeName"], spec["restartPolicy"]) == ("n1", "Never")
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_memory_is_bounded_and_the_cpu_is_not() -> None:
    resources = pod()["containers"][0]["resources"]
    assert "memory" in resources["limits"]
    assert "cpu" not in resources["limits"]


def test_arguments_of_the_agent() -> None:
    assert pod()["containers"][0]["args"] == [
        *("--port", "61000", "--secret-hash", "ab" * 32, "--pod-uid", "u1", "--pod-uid", "u2"),
        *("--first", "60", "--idle", "2", "--log-level", "INFO"),
    ]


def test_others_see_who_it_is() -> None:
    made = job(labels={"team": "shop", "mirror-run.dev/author": "not anna"}, annotations={"cost": "1 €"})
    for meta in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert meta["labels"]["mirror-run.dev/author"] == "anna-corp.example"
        assert meta["labels"]["mirror-run.dev/target"] == "deploy-cart"
        assert meta["labels"]["mirror-run.dev/mode"] == "mirror"
        assert meta["labels"]["mirror-run.dev/session"] == "5e55"
        assert meta["labels"]["mirror-run.dev/role"] == "agent"
        assert meta["labels"]["app.kubernetes.io/name"] == "mirror-run"
        assert meta["labels"]["team"] == "shop"
        assert meta["annotations"]["mirror-run.dev/author"] == "anna@corp.example"
        assert meta["annotations"]["mirror-run.dev/target"] == "deploy/cart"
        assert meta["annotations"]["cost"] == "1 €"


def test_no_mesh_puts_its_proxy_beside_it() -> None:
    meta = job()["spec"]["template"]["metadata"]
    assert meta["labels"]["sidecar.istio.io/inject"] == "false"
    assert meta["annotations"]["linkerd.io/inject"] == "disabled"


def test_pull_secrets() -> None:
    assert pod(pull_secrets=("a", "b"))["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert "imagePullSecrets" not in pod()


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("mirror-run/agent:0123", "Never"),
        ("agent", "Never"),
        ("registry.example/a/b:1", "IfNotPresent"),
        ("registry:5000/a", "IfNotPresent"),
        ("localhost/a", "IfNotPresent"),
        ("docker.io/anna/mirror-run-agent@sha256:00", "IfNotPresent"),
    ],
)
def test_nodes_pull_only_what_names_its_registry(image: str, policy: str) -> None:
    assert manifests.container(image, [])["imagePullPolicy"] == policy


def test_the_pod_that_is_tried_is_the_jobs() -> None:
    made = job()
    tried = manifests.pod_of(made)
    assert (tried["kind"], tried["spec"]) == ("Pod", made["spec"]["template"]["spec"])
    assert tried["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]


def test_an_ephemeral_container_has_no_resources_and_the_targets_processes() -> None:
    patch = manifests.ephemeral(
        manifests.container(IMAGE, ["--port", "61000"], name="mirror-run-5e55-0"), "web"
    )
    [one] = patch["spec"]["ephemeralContainers"]
    assert one["targetContainerName"] == "web"
    assert one["name"] == "mirror-run-5e55-0"
    assert "resources" not in one
    assert one["securityContext"]["runAsNonRoot"] is False
