"""People for tests: a certificate of their own from the cluster's signer, and exactly the rights a test gives them.

By the certificates API, so that it works the same way on a cluster that somebody brought
(https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.kubectl import Json, Kubectl
from tests.cluster.pki import kubeconfig, openssl

GROUP = "rbac.authorization.k8s.io"
LABEL = "mirror-run.test/user"


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on one resource ("pods", "pods/exec", "mirrorsessions/steal"), in one namespace or ("") in all."""

    verbs: Sequence[str]
    resource: str
    namespace: str = ""
    group: str = ""
    names: Sequence[str] = ()

    def body(self) -> Json:
        named = {"resourceNames": list(self.names)} if self.names else {}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": list(self.verbs), **named}


@contextmanager
def user(
    kubectl: Kubectl,
    folder: Path,
    name: str,
    namespaces: Mapping[str, str] | None = None,
    rules: Sequence[Rule] = (),
    groups: Sequence[str] = (),
) -> Iterator[Kubectl]:
    """Somebody with these cluster roles in these namespaces, and these rules besides; whom nobody grants anything else.

    A role of a namespace goes with that namespace; what is the cluster's goes at the end of this context.
    """
    path = folder / f"{name}.kubeconfig"
    path.write_text(_certified(kubectl, folder, name, groups, next(iter(namespaces or {}), "default")))
    path.chmod(0o600)
    objects = [*_bound(name, namespaces or {}), *_ruled(name, rules)]
    if objects:
        kubectl.apply(*objects)
    try:
        yield Kubectl(kubectl.program, path)
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", "-l", f"{LABEL}={name}", "--ignore-not-found")


def _certified(kubectl: Kubectl, folder: Path, name: str, groups: Sequence[str], namespace: str) -> str:
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", str(key), "-out", str(request), "-subj", subject,
    )  # fmt: skip
    wanted = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "mirror-run-test-"},
        "spec": {
            "request": base64.b64encode(request.read_bytes()).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    made = json.loads(kubectl("create", "-f", "-", "-o", "json", text=json.dumps(wanted)))["metadata"]["name"]
    try:
        kubectl("certificate", "approve", made)
        signed = kubectl.until(lambda csr: "certificate" in csr.get("status", {}), "csr", made)
    finally:
        kubectl("delete", "csr", made)
    view = kubectl.json("config", "view", "--raw", "--minify", "--flatten")
    server = view["clusters"][0]["cluster"]
    return kubeconfig(
        base64.b64decode(server["certificate-authority-data"]),
        base64.b64decode(signed["status"]["certificate"]),
        key.read_bytes(),
        server["server"],
        namespace,
    )


def _binding(name: str, role: str, kind: str, namespace: str, called: str) -> Json:
    where = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": called, "labels": {LABEL: name}, **where},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": name}],
    }


def _bound(name: str, namespaces: Mapping[str, str]) -> Iterator[Json]:
    for namespace, role in namespaces.items():
        yield _binding(name, role, "ClusterRole", namespace, f"test-{name}-{role}")


def _ruled(name: str, rules: Sequence[Rule]) -> Iterator[Json]:
    """A role for each namespace that rules speak of."""
    for namespace in dict.fromkeys(rule.namespace for rule in rules):
        called = f"test-{name}-rules"
        where = {"namespace": namespace} if namespace else {}
        kind = "Role" if namespace else "ClusterRole"
        yield {
            "apiVersion": f"{GROUP}/v1",
            "kind": kind,
            "metadata": {"name": called, "labels": {LABEL: name}, **where},
            "rules": [rule.body() for rule in rules if rule.namespace == namespace],
        }
        yield _binding(name, called, kind, namespace, called)
