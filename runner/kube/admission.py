"""Who may make which MirrorSession: a ValidatingAdmissionPolicy whose CEL asks RBAC about the author, right by right.

No webhook, so nothing of ours is asked and nothing of ours can be away. The rights are subresources that exist only as
words of RBAC: `create mirrorsessions/env` is what lets a session of that namespace read its target's environment.
(Kubernetes: "Validating Admission Policy", "CEL in Kubernetes", the authorizer library.)

Every default that the API server would fill in is written out, so that what it stores is what stands here: the agents
compare the hash of the two specs.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from runner.kube.kinds import API, GROUP, POLICY_NAME, RIGHTS, SESSIONS

POLICY = "mirror-run-sessions"
"""The name of the ValidatingAdmissionPolicy and of its binding."""

ADMISSION_API = "admissionregistration.k8s.io/v1"

NOT_THE_AUTHOR = "a session has its maker as author"
"""Words of the policy's that nothing else says."""

NEW = "request.operation == 'CREATE'"
STATUS = "has(request.subResource) && request.subResource == 'status'"
_PODS = "authorizer.group('').resource('pods')"
_HERE = ".namespace(request.namespace)"
EXEC = f"{_PODS}.subresource('exec'){_HERE}.check('create').allowed()"
PODS = f"{_PODS}{_HERE}.check('get').allowed()"


def policy() -> dict[str, Any]:
    """The ValidatingAdmissionPolicy."""
    return {
        "apiVersion": ADMISSION_API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "paramKind": {"apiVersion": API, "kind": "MirrorPolicy"},
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {},
                "objectSelector": {},
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [SESSIONS, f"{SESSIONS}/status"],
                        "scope": "*",
                    }
                ],
            },
            "variables": _variables(),
            "validations": _validations(),
        },
    }


def binding() -> dict[str, Any]:
    """Puts the policy in force, with the one MirrorPolicy as its parameters; without that nothing is allowed."""
    return {
        "apiVersion": ADMISSION_API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {
            "policyName": POLICY,
            "paramRef": {"name": POLICY_NAME, "parameterNotFoundAction": "Deny"},
            "validationActions": ["Deny"],
        },
    }


def in_force_hash() -> str:
    """What an agent must find: SHA-256, hexadecimal, of both specs as canonical JSON."""
    specs = [policy()["spec"], binding()["spec"]]
    return hashlib.sha256(json.dumps(specs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def resource(right: str) -> str:
    """The resource that RBAC is asked about `create` of, for this right."""
    return SESSIONS if right == "mirror" else f"{SESSIONS}/{right}"


def _variables() -> list[dict[str, str]]:
    """Each look-up of the authorizer costs a third of what one expression may (k8s.io/apiserver/pkg/cel, limits.go)."""
    return [
        {"name": "likeExec", "expression": f"params.spec.likeExec && {EXEC}"},
        {
            "name": "labels",
            "expression": "has(namespaceObject.metadata.labels) ? namespaceObject.metadata.labels : {}",
        },
    ]


def _allowed(right: str) -> str:
    """`create mirrorsessions` itself has been asked by the API server already, unless `--like-exec` gave it to all."""
    asked = (
        f"authorizer.group('{GROUP}').resource('{SESSIONS}').subresource('{right}')"
        f"{_HERE}.check('create').allowed()"
    )
    if right == "mirror":
        return f"(!params.spec.likeExec || variables.likeExec || {asked})"
    return f"(variables.likeExec || {asked})"


def _asked_of_rbac(unless: str, what: str) -> dict[str, str]:
    """A validation for each right: a message may not use the authorizer, so it must know what it is about."""
    return {
        "expression": f"!({NEW}) || {unless}",
        "messageExpression": f"'you lack {what} in ' + request.namespace",
        "reason": "Forbidden",
    }


def _validations() -> list[dict[str, str]]:
    return [
        {
            "expression": f"!({NEW}) || object.spec.author == request.userInfo.username",
            "messageExpression": "'spec.author is ' + object.spec.author + ' and you are ' + request.userInfo.username"
            f" + ': {NOT_THE_AUTHOR}'",
            "reason": "Forbidden",
        },
        _asked_of_rbac(PODS, "get pods"),
        *(
            _asked_of_rbac(
                f"!('{right}' in object.spec.rights) || {_allowed(right)}", f"create {resource(right)}"
            )
            for right in RIGHTS
        ),
        {
            "expression": f"!({NEW}) || ({_labelled()})",
            "messageExpression": "'namespace ' + request.namespace + ' is not one that mirrorpolicy "
            f"{POLICY_NAME} allows sessions in'",
            "reason": "Forbidden",
        },
        {
            "expression": f"({NEW}) || object.spec == oldObject.spec",
            "message": "a session never changes",
            "reason": "Invalid",
        },
        {
            "expression": f"!({STATUS}) || object.spec.author == request.userInfo.username",
            "messageExpression": "'the lease of a session is renewed by its author, ' + object.spec.author",
            "reason": "Forbidden",
        },
        {
            "expression": "!has(object.metadata.finalizers) || object.metadata.finalizers.size() == 0",
            "message": "a session has no finalizers: it must be gone when it is deleted",
            "reason": "Invalid",
        },
    ]


def _labelled() -> str:
    """A label selector (Kubernetes: "Labels and Selectors", set-based requirements), in CEL."""
    wanted = "params.spec.namespaces"
    has = "e.key in variables.labels"
    among = "has(e.values) && variables.labels[e.key] in e.values"
    return (
        f"(!has({wanted}.matchLabels) || {wanted}.matchLabels.all(k, k in variables.labels"
        f" && variables.labels[k] == {wanted}.matchLabels[k]))"
        f" && (!has({wanted}.matchExpressions) || {wanted}.matchExpressions.all(e,"
        f" e.operator == 'Exists' ? {has}"
        f" : e.operator == 'DoesNotExist' ? !({has})"
        f" : e.operator == 'In' ? ({has} && {among})"
        f" : !({has} && {among})))"
    )
