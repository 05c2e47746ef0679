"""An API server in memory: objects by path, lists and watches with selectors, and refusals on demand."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

from runner.kube.errors import KubeError, of_answer

Json = dict[str, Any]

_COLLECTION = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)$"
)


class Memory:
    """What `runner.kube.api.Cluster` answers. ``forbidden`` and ``absent`` hold resources ("nodes")."""

    def __init__(self, namespace: str = "shop") -> None:
        self.context = "test"
        self.namespace = namespace
        self.objects: dict[str, Json] = {}
        self.forbidden: set[str] = set()
        self.absent: set[str] = {"rollouts", "mirrorsessions"}
        self.asked: list[str] = []
        self.down = False
        self._version = 100
        self._moved = asyncio.Event()
        self._watches: list[tuple[str, asyncio.Queue[tuple[str, Json] | KubeError]]] = []

    # --- the test's side ----------------------------------------------------------------------------------------------

    def put(self, path: str, body: Json) -> Json:
        """Make or replace the object at this path."""
        known = path in self.objects
        self._version += 1
        body = copy.deepcopy(body)
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = body
        self._tell("MODIFIED" if known else "ADDED", path, body)
        return body

    def remove(self, path: str, *, unseen: bool = False) -> None:
        """Delete; ``unseen`` by whoever watches."""
        body = self.objects.pop(path)
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        if not unseen:
            self._tell("DELETED", path, body)

    def break_watches(self, status: int = 0) -> None:
        """Every watch ends with an error."""
        for _, queue in self._watches:
            queue.put_nowait(KubeError(status, "Expired" if status == 410 else "", "the watch broke"))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until this is so; it is looked at whenever something was asked for."""
        while not holds():
            self._moved.clear()
            await self._moved.wait()

    @property
    def watches(self) -> int:
        return len(self._watches)

    def _tell(self, change: str, path: str, body: Json) -> None:
        for prefix, queue in self._watches:
            if path.rpartition("/")[0] == prefix:
                queue.put_nowait((change, copy.deepcopy(body)))

    # --- the product's side -------------------------------------------------------------------------------------------

    async def get(self, path: str, **query: str) -> Json:
        self._check("GET", path)
        if path not in self.objects:
            name, kind = path.rpartition("/")[2], path.split("/")[-2]
            message = f'{{"kind":"Status","reason":"NotFound","message":"{kind} \\"{name}\\" not found"}}'
            raise of_answer("GET", path, 404, message.encode())
        return copy.deepcopy(self.objects[path])

    async def list(self, path: str, **query: str) -> tuple[list[Json], str]:
        self._check("GET", path)
        wanted = _COLLECTION.match(path)
        assert wanted is not None, path
        found = []
        for key, body in self.objects.items():
            at = _COLLECTION.match(key.rpartition("/")[0])
            if at and at["root"] == wanted["root"] and at["plural"] == wanted["plural"]:
                inside = wanted["namespace"] in (None, at["namespace"])
                if inside and _selected(body, query):
                    found.append(copy.deepcopy(body))
        return found, str(self._version)

    async def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[tuple[str, Json], None]:
        self._check("GET", path)
        queue: asyncio.Queue[tuple[str, Json] | KubeError] = asyncio.Queue()
        entry = (path, queue)
        self._watches.append(entry)
        self._moved.set()
        try:
            for key, body in list(self.objects.items()):  # what came between the list and this
                if key.rpartition("/")[0] == path and int(body["metadata"]["resourceVersion"]) > int(version):
                    queue.put_nowait(("MODIFIED", copy.deepcopy(body)))
            while True:
                said = await queue.get()
                if isinstance(said, KubeError):
                    raise said
                if _selected(said[1], query):
                    yield said
        finally:
            self._watches.remove(entry)

    def _check(self, method: str, path: str) -> None:
        self.asked.append(path)
        self._moved.set()
        if self.down:
            raise KubeError(0, "", "the API server does not answer")
        words = set(path.split("/"))
        if words & self.absent:
            raise of_answer(method, path, 404, b"404 page not found")
        if words & self.forbidden:
            raise of_answer(method, path, 403, b'{"kind":"Status","reason":"Forbidden","message":"no"}')


def _selected(body: Json, query: dict[str, str]) -> bool:
    meta = body["metadata"]
    if field := query.get("fieldSelector"):
        key, _, value = field.partition("=")
        assert key == "metadata.name", field
        if meta["name"] != value:
            return False
    return all(
        _matches(meta.get("labels") or {}, one) for one in _requirements(query.get("labelSelector", ""))
    )


def _requirements(selector: str) -> list[str]:
    return [one.strip() for one in re.split(r",(?![^(]*\))", selector) if one.strip()]


def _matches(labels: dict[str, str], one: str) -> bool:
    if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", one):
        return (labels.get(found[1]) in found[3].split(",")) == (found[2] == "in")
    if one.startswith("!"):
        return one[1:] not in labels
    key, equals, value = one.partition("=")
    return labels.get(key) == value if equals else key in labels


# --- objects --------------------------------------------------------------------------------------------------------


def path(kind: str, name: str, namespace: str = "shop") -> str:
    from runner.kube.names import kind_of

    found = kind_of(kind)
    assert found is not None, kind
    return found.path(namespace, name)


def owner(kind: str, name: str, uid: str) -> Json:
    return {"kind": kind, "name": name, "uid": uid, "controller": True}


def pod(name: str, *, namespace: str = "shop", node: str = "n1", ready: bool = True, **more: Any) -> Json:
    """A pod whose containers run. ``more``: labels, annotations, owner, containers (names), metadata, spec, status."""
    labels, annotations = more.get("labels", {"app": "cart"}), more.get("annotations", {})
    names = more.get("containers", ["web"])
    made: Json = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {"nodeName": node, "containers": [{"name": one, "image": "i"} for one in names]},
        "status": {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": more.get("since", "2026-01-01T00:00:00Z"),
                }
            ],
            "containerStatuses": [
                {
                    "name": one,
                    "ready": ready,
                    "restartCount": 0,
                    "state": {"running": {}},
                    "containerID": f"containerd://{one}-of-{name}",
                }
                for one in names
            ],
        },
    }
    if "owner" in more:
        made["metadata"]["ownerReferences"] = [more["owner"]]
    made["metadata"].update(more.get("metadata", {}))
    made["spec"].update(more.get("spec", {}))
    made["status"].update(more.get("status", {}))
    return made


def workload(name: str, namespace: str = "shop", **spec: Any) -> Json:
    """Anything with a selector of app=cart."""
    template = {
        "metadata": {"labels": {"app": "cart"}},
        "spec": {"containers": [{"name": "web", "image": "i"}]},
    }
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"selector": {"matchLabels": {"app": "cart"}}, "template": template, **spec},
        "status": {},
    }
