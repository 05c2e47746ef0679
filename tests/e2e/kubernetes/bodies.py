"""Manifests of the targets' tests: workloads of every kind whose containers only wait, and stop when told to."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

WAITS = ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 3600 & wait $!; done"]
"""Ends on SIGTERM, so that `kill 1` inside is an in-place restart."""

UNTIL_READY = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}


def container(image: str, name: str = "web", **more: Any) -> Json:
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": WAITS, **more}


def pod_spec(image: str, **more: Any) -> Json:
    return {"terminationGracePeriodSeconds": 5, "containers": [container(image)], **more}


def pod(name: str, image: str, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": pod_spec(image, **spec),
    }


def template(app: str, image: str, **spec: Any) -> Json:
    return {"metadata": {"labels": {"app": app}}, "spec": pod_spec(image, **spec)}


def controller(kind: str, name: str, image: str, *, pods: Json | None = None, **more: Any) -> Json:
    """Deployment, StatefulSet, DaemonSet or ReplicaSet."""
    spec = {"selector": {"matchLabels": {"app": name}}, "template": pods or template(name, image), **more}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def job(name: str, image: str) -> Json:
    pods = {"spec": {**pod_spec(image), "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": pods}}


def cron_job(name: str, image: str) -> Json:
    """It never runs by itself: there is no 31st of February."""
    spec = {"schedule": "0 0 31 2 *", "jobTemplate": {"spec": job(name, image)["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def service(name: str, app: str, **spec: Any) -> Json:
    whole = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}


def rollouts() -> Json:
    """Argo's kind, as far as a target needs it; what else it has is kept as it comes."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"plural": "rollouts", "singular": "rollout", "kind": "Rollout", "shortNames": ["ro"]},
            "versions": [
                {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


def rollout(name: str, app: str) -> Json:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": app}}}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": spec}
