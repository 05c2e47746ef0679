"""What of a pod's container a container here is made like, in docker's words. Pure.

(Kubernetes API, "Container" v1; its command and args against ENTRYPOINT and CMD: "Define a Command and Arguments for a
Container".)
"""

from __future__ import annotations

from typing import Any

from runner.kube.pod import container_spec, container_status
from runner.kube.spec_env import hostname
from runner.place import Original

Json = dict[str, Any]


def original(pod: Json, container: str) -> Original:
    """``pod`` as the API server gives it. The image is named by its digest first: a tag may have moved on since."""
    spec: Json = pod.get("spec") or {}
    own = container_spec(spec, container)
    image = str(own.get("image") or "")
    exact = _reference(str(container_status(pod, container).get("imageID") or ""))
    names = tuple(dict.fromkeys(name for name in (exact, image) if name))
    return Original(image, _config(pod, spec, own), pull=names, expands=True)


def _config(pod: Json, spec: Json, own: Json) -> Json:
    found: Json = {
        "Hostname": hostname(pod),
        "ExposedPorts": {
            f"{port['containerPort']}/{str(port.get('protocol') or 'TCP').lower()}": {}
            for port in own.get("ports") or ()
        },
    }
    if command := own.get("command"):
        found |= {"Entrypoint": list(command), "Cmd": list(own.get("args") or ())}
    elif args := own.get("args"):
        found["Cmd"] = list(args)
    if folder := own.get("workingDir"):
        found["WorkingDir"] = str(folder)
    if user := _user(spec, own):
        found["User"] = user
    return found


def _user(spec: Json, own: Json) -> str:
    """UID or UID:GID of the security contexts, the container's before the pod's; "" if they say none."""
    both: Json = {**(spec.get("securityContext") or {}), **(own.get("securityContext") or {})}
    uid, gid = both.get("runAsUser"), both.get("runAsGroup")
    if uid is None:
        return ""
    return f"{uid}" if gid is None else f"{uid}:{gid}"


def _reference(image_id: str) -> str:
    """The kubelet's imageID as an engine takes it: a name with a digest, or the id of an image that has none."""
    return image_id.removeprefix("docker-pullable://").removeprefix("docker://")
