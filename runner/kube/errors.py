"""What an API server, or the way to it, said no to: one exception, with the sentence and the next step."""

from __future__ import annotations

import json
import re
from typing import Any

from runner.errors import Refusal

_RESOURCE = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/?]+)/[^/?]+)(?:/namespaces/(?P<namespace>[^/?]+)(?=/))?/(?P<resource>[^/?]+)"
    r"(?:/(?P<name>[^/?]+))?(?:/(?P<sub>[^?]+))?"
)

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class KubeError(Exception):
    """The API server said no. ``status`` is HTTP's, 0 when the connection itself failed; ``reason`` the Status's
    (`NotFound`, `AlreadyExists`, …), "" if it gave none; str() is a sentence, ``next_step`` what to do about it."""

    def __init__(self, status: int, reason: str, sentence: str, next_step: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.sentence = sentence
        self.next_step = next_step

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409

    @property
    def forbidden(self) -> bool:
        return self.status == 403

    @property
    def unauthorized(self) -> bool:
        return self.status == 401

    @property
    def unreachable(self) -> bool:
        """The connection failed: the same call may work when the server, or the way to it, is back."""
        return self.status == 0

    def refusal(self) -> Refusal:
        """The same for the user, who cannot go on."""
        return Refusal(self.sentence, self.next_step)


def of_answer(method: str, path: str, status: int, body: bytes) -> KubeError:
    """What an answer with this HTTP status means. ``body`` is a Status object
    (kubernetes.io/docs/reference/generated/kubernetes-api, meta/v1 Status), or whatever a proxy between wrote."""
    told = _status_object(body)
    reason = str(told.get("reason") or "")
    message = str(told.get("message") or "") or _first_line(body)
    what = described(method, path)
    match status:
        case 401:
            sentence = f"the API server does not accept your credentials (401 Unauthorized, {what})"
            return KubeError(
                status, reason, sentence, "log in again, as your cluster's users do, then try again"
            )
        case 403:
            sentence = f"you may not {what}: {message}" if message else f"you may not {what}"
            return KubeError(status, reason, sentence, _ask_for(method, path))
        case _:
            return KubeError(status, reason, message or f"the API server answered {status} to: {what}")


def described(method: str, path: str) -> str:
    """`GET /api/v1/namespaces/shop/pods` as "list pods in namespace shop", as RBAC names it."""
    if (verb_and_resource := _rbac(method, path)) is None:
        return f"{method} {path.partition('?')[0]}"
    verb, resource, namespace = verb_and_resource
    return f"{verb} {resource} in namespace {namespace}" if namespace else f"{verb} {resource}"


def _ask_for(method: str, path: str) -> str:
    if (verb_and_resource := _rbac(method, path)) is None:
        return "ask who runs the cluster for that right"
    verb, resource, namespace = verb_and_resource
    scope = f" -n {namespace}" if namespace else ""
    resource, _, subresource = resource.partition("/")
    sub = f" --subresource={subresource}" if subresource else ""
    can_i = f"kubectl auth can-i {verb} {resource}{sub}{scope}"
    return f"ask who runs the cluster for that right (`{can_i}` says when it is there)"


def _rbac(method: str, path: str) -> tuple[str, str, str] | None:
    """(verb, resource[.group][/subresource], namespace), as of the RBAC request attributes
    (kubernetes.io/docs/reference/access-authn-authz/authorization, "Determine the request verb")."""
    if (found := _RESOURCE.search(path)) is None:
        return None
    query = path.partition("?")[2]
    one = found["name"] is not None
    verb = _VERBS.get(method, "get" if one else "list")
    if method == "GET" and "watch=" in query:
        verb = "watch"
    if method == "DELETE" and not one:
        verb = "deletecollection"
    if method == "GET" and found["sub"] == "portforward":
        verb = "create"  # what kubectl needs; servers since 1.35 ask for it whatever the method is
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    return verb, resource + (f"/{found['sub']}" if found["sub"] else ""), found["namespace"] or ""


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _first_line(body: bytes) -> str:
    """Of a text that is no Status: proxies answer with pages of HTML, which say nothing."""
    text = body[:300].decode(errors="replace").strip()
    return "" if text.startswith("<") else text.partition("\n")[0]
