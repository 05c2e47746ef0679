"""What install brings, read as somebody who has to let it in would read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.kustomize import generate
from runner.kube import admission
from runner.kube.install_manifests import (
    AGENT,
    CONNECT,
    EVERYONE,
    PEOPLE,
    PORT,
    InstallOptions,
    manifests,
    options_of,
)
from runner.kube.kinds import RIGHTS
from runner.kube.object_path import path_of
from runner.kube.rendered import as_yaml
from runner.plan import AGENT_CAPABILITIES, AGENT_FILES_CAPABILITIES

PLAIN = InstallOptions(image="registry.test/agent:1")
LIKE_EXEC = InstallOptions(image="registry.test/agent:1", like_exec=True)

KUSTOMIZATION = Path(__file__).resolve().parents[3] / "docs" / "kustomize"


def one(kind: str, name: str, options: InstallOptions = PLAIN) -> dict[str, Any]:
    (found,) = (it for it in manifests(options) if it["kind"] == kind and it["metadata"]["name"] == name)
    return found


def rules(options: InstallOptions) -> Iterator[tuple[str, dict[str, Any]]]:
    for it in manifests(options):
        for rule in it.get("rules", ()):
            yield it["metadata"]["name"], rule


@pytest.mark.parametrize("options", [PLAIN, LIKE_EXEC])
def test_no_role_reaches_secrets_or_everything(options: InstallOptions) -> None:
    for name, rule in rules(options):
        said = [*rule["resources"], *rule["verbs"], *rule["apiGroups"]]
        assert "*" not in said, name
        assert not {"secrets", "configmaps", "pods/exec", "serviceaccounts"} & set(rule["resources"]), name
        assert not {"impersonate", "escalate", "bind"} & set(rule["verbs"]), name


def test_the_agents_account_has_these_rights_and_no_other() -> None:
    role = one("ClusterRole", AGENT)
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["pods"], ["get"]),
        (["events"], ["create"]),
        (["mirrorsessions"], ["get", "list", "watch", "delete"]),
        (["mirrorpolicies"], ["get"]),
        (["validatingadmissionpolicies", "validatingadmissionpolicybindings"], ["get"]),
    ]
    bound = [it for it in manifests(PLAIN) if AGENT in str(it.get("subjects", ""))]
    assert [it["roleRef"]["name"] for it in bound] == [AGENT]


@pytest.mark.parametrize("options", [PLAIN, LIKE_EXEC])
def test_nothing_is_aggregated(options: InstallOptions) -> None:
    for it in manifests(options):
        assert not any("aggregate-to" in label for label in it["metadata"].get("labels", {}))


def test_everybody_may_read_the_policy_and_nothing_more() -> None:
    to_all = [it for it in manifests(PLAIN) if EVERYONE in str(it.get("subjects", ""))]
    assert [it["roleRef"]["name"] for it in to_all] == ["mirror-run-everyone"]
    assert [rule["verbs"] for rule in one("ClusterRole", "mirror-run-everyone")["rules"]] == [["get"]]
    assert not [it for it in manifests(PLAIN) if it["kind"] == "RoleBinding"]


def test_like_exec_lets_everybody_ask_and_the_policy_judge() -> None:
    (asking,) = (
        rule
        for rule in one("ClusterRole", "mirror-run-everyone", LIKE_EXEC)["rules"]
        if "mirrorsessions" in rule["resources"]
    )
    assert "create" in asking["verbs"]
    assert not any("/" in it for it in asking["resources"])
    assert one("RoleBinding", CONNECT, LIKE_EXEC)["subjects"][0]["name"] == EVERYONE
    assert one("MirrorPolicy", "default", LIKE_EXEC)["spec"]["likeExec"] is True


def test_roles_for_people_give_what_their_names_say() -> None:
    for name, rights in PEOPLE.items():
        given = {
            it.partition("/")[2]
            for rule in one("ClusterRole", name)["rules"]
            for it in rule["resources"]
            if it.startswith("mirrorsessions/") and rule["verbs"] == ["create"]
        }
        assert given == set(rights), name
    assert PEOPLE["mirror-run-full"] == RIGHTS


def test_the_agents_pod_has_the_nodes_processes_and_not_its_network() -> None:
    pod = one("DaemonSet", AGENT)["spec"]["template"]["spec"]
    assert pod["hostPID"] is True
    assert pod["hostNetwork"] is False
    assert "hostIPC" not in pod
    assert "volumes" not in pod
    (container,) = pod["containers"]
    assert "ports" not in container
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": [*AGENT_CAPABILITIES, *AGENT_FILES_CAPABILITIES],
    }
    assert container["args"][:2] == ["--port", str(PORT)]
    assert container["args"][container["args"].index("--judged-by") + 1] == admission.in_force_hash()


def test_a_policy_that_fails_denies() -> None:
    spec = admission.policy()["spec"]
    assert spec["failurePolicy"] == "Fail"
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert rule["resources"] == ["mirrorsessions", "mirrorsessions/status"]
    binding = admission.binding()["spec"]
    assert binding["validationActions"] == ["Deny"]
    assert binding["paramRef"]["parameterNotFoundAction"] == "Deny"
    assert "matchResources" not in binding


def test_every_right_is_asked_of_rbac_by_its_name() -> None:
    validations = admission.policy()["spec"]["validations"]
    for right in RIGHTS:
        words = f"'you lack create {admission.resource(right)} in ' + request.namespace"
        (found,) = (it for it in validations if it.get("messageExpression") == words)
        assert f"'{right}' in object.spec.rights" in found["expression"]
        assert f"subresource('{right}')" in found["expression"]


def test_messages_do_not_use_the_authorizer() -> None:
    """The API server gives it to expressions alone; a message that asks for it is not shown at all."""
    for it in admission.policy()["spec"]["validations"]:
        assert "authorizer" not in it.get("messageExpression", "")
        assert "variables" not in it.get("messageExpression", "")


def test_the_same_options_give_the_same_octets() -> None:
    assert as_yaml(PLAIN) == as_yaml(InstallOptions(image="registry.test/agent:1"))
    assert "&id" not in as_yaml(LIKE_EXEC)
    assert list(yaml.safe_load_all(as_yaml(PLAIN))) == json.loads(json.dumps(manifests(PLAIN)))


def test_every_object_has_a_place_at_the_api_server() -> None:
    paths = [path_of(it) for it in manifests(LIKE_EXEC)]
    assert len(set(paths)) == len(paths)
    assert paths[0] == "/api/v1/namespaces/mirror-run"
    assert paths[-1] == "/apis/apps/v1/namespaces/mirror-run/daemonsets/mirror-run-agent"


def test_what_is_referred_to_comes_first() -> None:
    kinds = [it["kind"] for it in manifests(LIKE_EXEC)]
    assert kinds.index("Namespace") < kinds.index("ServiceAccount") < kinds.index("DaemonSet")
    assert kinds.index("CustomResourceDefinition") < kinds.index("MirrorPolicy")
    assert kinds.index("MirrorPolicy") < kinds.index("ValidatingAdmissionPolicy")


def test_options_survive_the_annotation() -> None:
    options = InstallOptions(
        image="r/a:1",
        namespace="tools",
        node_selector=("a=b",),
        tolerations=("k=v:NoSchedule",),
        like_exec=True,
    )
    assert options_of(options.text()) == options
    later = json.dumps(json.loads(options.text()) | {"something_new": 1})
    assert options_of(later) == options


def test_tolerations_and_selectors_are_written_as_kubectl_does() -> None:
    options = InstallOptions(
        image="r/a:1", node_selector=("disk=fast",), tolerations=("gpu", "only=me:NoSchedule", "x=:NoExecute")
    )
    pod = one("DaemonSet", AGENT, options)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "disk": "fast"}
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "only", "operator": "Equal", "value": "me", "effect": "NoSchedule"},
        {"key": "x", "operator": "Equal", "value": "", "effect": "NoExecute"},
    ]
    assert one("DaemonSet", AGENT)["spec"]["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_the_kustomization_says_what_install_says() -> None:
    written = (KUSTOMIZATION / "mirror-run.yaml").read_text()
    assert written == generate.text(), "python docs/kustomize/generate.py writes it anew"
    image = InstallOptions(image=generate.IMAGE)
    assert list(yaml.safe_load_all(written)) == json.loads(json.dumps(manifests(image)))
    resources = yaml.safe_load((KUSTOMIZATION / "kustomization.yaml").read_text())["resources"]
    assert resources == ["mirror-run.yaml"]
