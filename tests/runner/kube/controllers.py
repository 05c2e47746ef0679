"""An API server in memory whose controllers act at once: a Job gets its pod, a pod its ephemeral container, as told."""

from __future__ import annotations

import asyncio
import copy
import io
from collections.abc import AsyncGenerator, Callable
from typing import Any

from runner.kube.errors import KubeError
from runner.screen import Screen

Json = dict[str, Any]

RUNNING: Json = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(message: str, code: int = 1) -> Json:
    return {"terminated": {"exitCode": code, "reason": "Error", "message": message}}


class Quiet(Screen):
    """What was said, as one text."""

    def __init__(self) -> None:
        self.heard = io.StringIO()
        super().__init__(out=self.heard, err=self.heard)

    @property
    def said(self) -> str:
        return self.heard.getvalue()


class Controllers:
    """What `runner.kube.api.Cluster` answers. ``states`` are those that each new agent's container goes through;
    ``lacks`` are rights as people write them; ``refuses`` may raise for (verb, path, body)."""

    def __init__(self) -> None:
        self.states: list[Json] = [waiting("ContainerCreating"), RUNNING]
        self.lacks: set[str] = set()
        self.refuses: Callable[[str, str, Json], None] = lambda verb, path, body: None
        self.events: list[Json] = []
        self.makes_pods = True
        self.held: asyncio.Event | None = None  # until it is set, what is created is not yet there
        self.objects: dict[str, Json] = {}
        self.created: list[tuple[str, Json, dict[str, str]]] = []
        self.patched: list[tuple[str, Any]] = []
        self.deleted: list[tuple[str, dict[str, str]]] = []
        self._watches: list[tuple[str, dict[str, str], asyncio.Queue[tuple[str, Json]]]] = []
        self._moved = asyncio.Event()
        self._history: list[tuple[str, str, Json]] = []  # its length is the resourceVersion

    # --- the test's side ----------------------------------------------------------------------------------------------

    def put(self, path: str, body: Json) -> None:
        change = "MODIFIED" if path in self.objects else "ADDED"
        self.objects[path] = body
        self._tell(change, path, body)

    def remove(self, path: str) -> None:
        self._tell("DELETED", path, self.objects.pop(path))

    async def until(self, holds: Callable[[], object]) -> None:
        """Until this is so; it is looked at whenever something is created, or has changed."""
        while not holds():
            self._moved.clear()
            await self._moved.wait()

    def jobs(self) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self.objects if "/jobs/" in path)

    def pods(self) -> list[str]:
        return sorted(path for path in self.objects if "/pods/" in path)

    def _tell(self, change: str, path: str, body: Json) -> None:
        self._moved.set()
        self._history.append((change, path, copy.deepcopy(body)))
        for prefix, query, queue in self._watches:
            if path.rpartition("/")[0] == prefix and _selected(body, query):
                queue.put_nowait((change, copy.deepcopy(body)))

    # --- the product's side -------------------------------------------------------------------------------------------

    async def get(self, path: str, **query: str) -> Json:
        await asyncio.sleep(0)
        self.refuses("get", path, {})
        if path not in self.objects:
            raise KubeError(404, "NotFound", f"{path} not found")
        return copy.deepcopy(self.objects[path])

    async def create(self, path: str, body: Json, **query: str) -> Json:
        self.created.append((path, copy.deepcopy(body), query))
        self._moved.set()
        await (self.held.wait() if self.held else asyncio.sleep(0))
        self.refuses("create", path, body)
        if "dryRun" in query:
            return body
        made = copy.deepcopy(body)
        name, namespace = made["metadata"]["name"], path.split("/")[-2]
        made["metadata"] |= {"uid": f"uid-of-{name}", "namespace": namespace}
        self.put(f"{path}/{name}", made)
        if path.endswith("/jobs"):
            self._job(made)
        return copy.deepcopy(made)

    async def patch(self, path: str, body: Any, kind: str = "merge", **query: str) -> Json:
        await asyncio.sleep(0)
        self.patched.append((path, copy.deepcopy(body)))
        self._moved.set()
        self.refuses("patch", path, body)
        if path.endswith("/ephemeralcontainers"):
            assert kind == "strategic"
            version = len(self._history)
            self._ephemeral(path.removesuffix("/ephemeralcontainers"), body)
            return {"metadata": {"resourceVersion": str(version)}}
        return {}

    async def delete(self, path: str, **query: str) -> Json | None:
        await asyncio.sleep(0)
        self.deleted.append((path, query))
        self.refuses("delete", path, {})
        if path not in self.objects:
            return None
        gone = self.objects[path]
        self.remove(path)
        if "/jobs/" in path:
            for pod in [one for one in self.pods() if f"/{gone['metadata']['name']}-" in one]:
                self.remove(pod)
        return gone

    async def allowed(self, verb: str, resource: str, *, namespace: str, **more: str) -> bool:
        await asyncio.sleep(0)
        whole = resource + (f".{more['group']}" if more.get("group") else "")
        sub = f"/{more['subresource']}" if more.get("subresource") else ""
        return f"{verb} {whole}{sub}" not in self.lacks

    async def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[tuple[str, Json], None]:
        self.refuses("watch", path, {})
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        now = [("ADDED", key, body) for key, body in self.objects.items()]
        for change, key, body in self._history[int(version) :] if version else now:
            if key.rpartition("/")[0] == path and _selected(body, query):
                queue.put_nowait((change, copy.deepcopy(body)))
        entry = (path, query, queue)
        self._watches.append(entry)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watches.remove(entry)

    # --- controllers --------------------------------------------------------------------------------------------------

    def _job(self, job: Json) -> None:
        meta, template = job["metadata"], job["spec"]["template"]
        namespace = meta["namespace"]
        for number, event in enumerate(self.events):
            body = event | {"metadata": {"name": f"e{number}"}, "involvedObject": {"uid": meta["uid"]}}
            self.put(f"/api/v1/namespaces/{namespace}/events/e{number}", body)
        if not self.makes_pods:
            return
        name = f"{meta['name']}-abcde"
        pod = copy.deepcopy(template)
        pod["metadata"] |= {"name": name, "namespace": namespace, "uid": f"uid-of-{name}"}
        for state in self.states:
            status = {"name": "agent", "image": pod["spec"]["containers"][0]["image"], "state": state}
            pod["status"] = {"phase": "Pending", "containerStatuses": [status]}
            self.put(f"/api/v1/namespaces/{namespace}/pods/{name}", copy.deepcopy(pod))

    def _ephemeral(self, path: str, patch: Json) -> None:
        for state in self.states:
            pod = copy.deepcopy(self.objects[path])
            for one in patch["spec"]["ephemeralContainers"]:
                said = pod.setdefault("status", {}).setdefault("ephemeralContainerStatuses", [])
                said[:] = [status for status in said if status["name"] != one["name"]]
                said.append({"name": one["name"], "image": one["image"], "state": state})
            self.put(path, pod)


def _selected(body: Json, query: dict[str, str]) -> bool:
    meta = body["metadata"]
    if field := query.get("fieldSelector"):
        key, _, value = field.partition("=")
        found = {"metadata.name": meta["name"]}
        found["involvedObject.uid"] = (body.get("involvedObject") or {}).get("uid", "")
        if found[key] != value:
            return False
    if label := query.get("labelSelector"):
        key, _, value = label.partition("=")
        return bool((meta.get("labels") or {}).get(key) == value)
    return True
