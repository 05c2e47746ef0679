"""The two kinds that an installation brings: MirrorSession, one run of one person; MirrorPolicy, what may be at all.

Only their schemas and names; who may make a session is ``runner.kube.admission``'s. Structural schemas with a bound on
everything that a person may write (Kubernetes: "Extend the Kubernetes API with CustomResourceDefinitions").
"""

from __future__ import annotations

from typing import Any

GROUP = "mirror-run.dev"
VERSION = "v1alpha1"
API = f"{GROUP}/{VERSION}"

SESSIONS = "mirrorsessions"
POLICIES = "mirrorpolicies"

POLICY_NAME = "default"
"""The one MirrorPolicy that counts."""

RIGHTS = ("mirror", "outgoing", "env", "files", "files-write", "steal")
"""What a session may do. Each but ``mirror`` is asked of RBAC as `create mirrorsessions/RIGHT`; `mirror` as `create
mirrorsessions` itself."""

LEASE_SECONDS = 60
"""A session whose ``status.renewTime`` has not moved for as long is over, and its object is deleted by the agents."""


def sessions_path(namespace: str, name: str = "", subresource: str = "") -> str:
    """Of the API server, for one session or all of a namespace."""
    parts = [f"/apis/{API}/namespaces/{namespace}/{SESSIONS}", name, subresource]
    return "/".join(part for part in parts if part)


def policy_path() -> str:
    """Of the API server."""
    return f"/apis/{API}/{POLICIES}/{POLICY_NAME}"


def session_kind() -> dict[str, Any]:
    """The CustomResourceDefinition of MirrorSession."""
    columns = [
        ("Author", ".spec.author", "string"),
        ("Target", ".spec.target", "string"),
        ("Mode", ".spec.mode", "string"),
        ("Rights", ".spec.rights", "string"),
        ("Renewed", ".status.renewTime", "date"),
        ("Age", ".metadata.creationTimestamp", "date"),
    ]
    return _definition(
        kind="MirrorSession",
        plural=SESSIONS,
        short="ms",
        scope="Namespaced",
        spec=_session_spec(),
        version={
            "subresources": {"status": {}},
            "additionalPrinterColumns": [
                {"name": name, "jsonPath": path, "type": kind} for name, path, kind in columns
            ],
        },
        status={
            "type": "object",
            "properties": {
                "renewTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": f"When the runner last said that it lives; {LEASE_SECONDS} s later it lapses.",
                }
            },
        },
    )


def policy_kind() -> dict[str, Any]:
    """The CustomResourceDefinition of MirrorPolicy: the parameters of the admission policy and of the agents."""
    return _definition(
        kind="MirrorPolicy", plural=POLICIES, short="mp", scope="Cluster", spec=_policy_spec(), version={}
    )


def default_policy(agent_namespace: str, *, like_exec: bool) -> dict[str, Any]:
    """What an installation says of itself; all else is the schema's defaults, or what the cluster's people have set."""
    return {
        "apiVersion": API,
        "kind": "MirrorPolicy",
        "metadata": {"name": POLICY_NAME},
        "spec": {"agentNamespace": agent_namespace, "likeExec": like_exec},
    }


def _session_spec() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Written once by its author, who is judged for it; never changed.",
        "required": ["author", "target", "mode", "rights", "secretHash"],
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "a session never changes"}],
        "properties": {
            "author": _text(512, "Who made it, as the API server knows them (kubectl auth whoami)."),
            "target": _text(320, "As it was named: deploy/cart."),
            "container": _text(63, "Of the target's pods.", least=0),
            "mode": {
                "type": "string",
                "enum": ["mirror", "steal"],
                "description": "What happens to traffic.",
            },
            "rights": {
                "type": "array",
                "x-kubernetes-list-type": "set",
                "minItems": 1,
                "maxItems": len(RIGHTS),
                "items": {"type": "string", "enum": list(RIGHTS)},
                "description": "What the agents do for this session, and nothing else.",
            },
            "secretHash": {
                "type": "string",
                "pattern": "^[0-9a-f]{64}$",
                "maxLength": 64,
                "description": "SHA-256 of the secret that proves a caller of an agent to be this session's.",
            },
            "version": _text(64, "Of the runner.", least=0),
            "workload": {
                "type": "object",
                "description": "The target as an object: events are about it too.",
                "properties": {
                    "apiVersion": _text(320, ""),
                    "kind": _text(63, ""),
                    "name": _text(253, ""),
                    "uid": _text(64, ""),
                },
            },
        },
    }


def _policy_spec() -> dict[str, Any]:
    values = {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 63}}
    expression = {
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string", "maxLength": 317},
            "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": values,
        },
    }
    return {
        "type": "object",
        "required": ["agentNamespace"],
        "properties": {
            "agentNamespace": _text(63, "Where the agents run: runners look for them there."),
            "namespaces": {
                "type": "object",
                "default": {},
                "description": "Sessions are made in namespaces with these labels alone; empty: in all.",
                "properties": {
                    "matchLabels": {
                        "type": "object",
                        "maxProperties": 32,
                        "additionalProperties": {"type": "string", "maxLength": 63},
                    },
                    "matchExpressions": {"type": "array", "maxItems": 32, "items": expression},
                },
            },
            "likeExec": {
                "type": "boolean",
                "default": False,
                "description": "Whoever may create pods/exec in a namespace has all rights there.",
            },
            "longestSessionSeconds": _number("Seconds after which a session is ended; 0: never."),
            "connections": _number(
                "Open at a time of one session on one node; 0: no limit.", most=(1 << 32) - 1
            ),
            "bytesPerSecond": _number(
                "Of one session on one node: of what is mirrored, of what its app sends, and of what it is answered, "
                "each by itself; 0: no limit."
            ),
            "metadataAddresses": {
                "type": "boolean",
                "default": False,
                "description": "Whether a cloud's metadata services may be connected to: who asks there is the node.",
            },
        },
    }


def _definition(
    *,
    kind: str,
    plural: str,
    short: str,
    scope: str,
    spec: dict[str, Any],
    version: dict[str, Any],
    status: dict[str, Any] | None = None,
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status is not None:
        properties["status"] = status
    schema = {"type": "object", "required": ["spec"], "properties": properties}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


def _text(most: int, about: str, *, least: int = 1) -> dict[str, Any]:
    described = {"description": about} if about else {}
    return {"type": "string", "minLength": least, "maxLength": most, **described}


def _number(about: str, most: int = 1 << 40) -> dict[str, Any]:
    return {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "maximum": most,
        "default": 0,
        "description": about,
    }
