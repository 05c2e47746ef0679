"""What TARGET says: a kind of workload by any of kubectl's names for it, a name, perhaps a container.

Pure: it knows which words there are, and nothing of what a cluster has.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from runner.errors import Refusal
from wire.record import record

TARGETLESS = "targetless"
"""mirrord's word for: no target, only a place in the cluster."""

SELECTOR = "selector"
"""The kind of a target that is given by labels alone (-l)."""


@record
class Kind:
    """One kind that can be a target. ``word`` is what we call it; ``plural`` is its resource in the API."""

    word: str
    singular: str
    plural: str
    group: str = ""
    version: str = "v1"
    short: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every name of it, kubectl's with the group included (`kubectl api-resources`)."""
        plain = (self.word, self.singular, self.plural, *self.short)
        if not self.group:
            return plain
        grouped = (f"{name}.{self.group}" for name in (self.singular, self.plural))
        versioned = (f"{name}.{self.version}.{self.group}" for name in (self.singular, self.plural))
        return (*plain, *grouped, *versioned)

    def path(self, namespace: str = "", name: str = "") -> str:
        """Where the API server has it: one, those of a namespace, or (without one) those of the cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


POD = Kind("pod", "pod", "pods", short=("po",))
DEPLOYMENT = Kind("deploy", "deployment", "deployments", "apps")
STATEFULSET = Kind("sts", "statefulset", "statefulsets", "apps")
DAEMONSET = Kind("ds", "daemonset", "daemonsets", "apps")
REPLICASET = Kind("rs", "replicaset", "replicasets", "apps")
JOB = Kind("job", "job", "jobs", "batch")
CRONJOB = Kind("cronjob", "cronjob", "cronjobs", "batch", short=("cj",))
ROLLOUT = Kind("rollout", "rollout", "rollouts", "argoproj.io", "v1alpha1", short=("ro",))
SERVICE = Kind("svc", "service", "services")

KINDS = (POD, DEPLOYMENT, STATEFULSET, DAEMONSET, REPLICASET, JOB, CRONJOB, ROLLOUT, SERVICE)

_BY_WORD = {word: kind for kind in KINDS for word in kind.words}

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
"""DNS-1123 subdomain, as of all the kinds above (Kubernetes, "Object Names and IDs")."""


@record
class Wanted:
    """What was asked for. Empty means: not said. ``kind`` is a Kind's word, SELECTOR, TARGETLESS, or empty for
    a bare name; ``pod`` is --pod, the only one of them to follow; ``namespace`` is -n."""

    kind: str = ""
    name: str = ""
    container: str = ""
    selector: str = ""
    pod: str = ""
    namespace: str = ""

    @property
    def text(self) -> str:
        """How people say it: "deploy/cart", "-l app=cart"."""
        if self.kind == SELECTOR:
            return f"-l {self.selector}"
        return f"{self.kind}/{self.name}" if self.kind and self.name else self.name or self.kind


def kind_of(word: str) -> Kind | None:
    """The kind that a word means, whatever its case."""
    return _BY_WORD.get(word.lower())


def is_kind(text: str) -> bool:
    """Whether a TARGET begins with a kind of Kubernetes', so that no plain container is meant."""
    word, slash, _ = text.partition("/")
    return text == TARGETLESS or text.startswith("label=") or (bool(slash) and kind_of(word) is not None)


def understood(
    text: str,
    *,
    container: str = "",
    selector: str = "",
    pod: str = "",
    namespace: str = "",
    targetless: bool = False,
) -> Wanted:
    """TARGET and the options beside it (-c, -l, --pod, -n, --targetless). Refusal, with what can be written."""
    wanted = _said(text.strip(), selector, targetless)
    if container and wanted.container and container != wanted.container:
        raise Refusal(f"{text} names container {wanted.container}, and -c {container}", "name one of them")
    if not wanted.kind and not wanted.name:
        if not pod:
            raise Refusal("no target was named", _forms())
        wanted = Wanted(POD.word, _valid(pod, "pod"))
    if wanted.kind == TARGETLESS and (container or pod):
        raise Refusal(
            "--targetless has no pod, so no container of one", "leave -c and --pod out, or name a target"
        )
    return replace(
        wanted,
        container=_valid(container or wanted.container, "container", optional=True),
        pod=_valid(pod, "pod", optional=True),
        namespace=_valid(namespace, "namespace", optional=True),
    )


def _said(text: str, selector: str, targetless: bool) -> Wanted:
    if text.startswith("label="):
        text, selector = "", text.removeprefix("label=")
    if (text == TARGETLESS or targetless) and (selector or text not in ("", TARGETLESS)):
        raise Refusal("a target was named, and --targetless", "leave one of them out")
    if text == TARGETLESS or targetless:
        return Wanted(TARGETLESS)
    if selector:
        if text:
            raise Refusal(f"a target ({text}) was named, and labels (-l {selector})", "leave one of them out")
        return Wanted(SELECTOR, selector=selector)
    return _path(text)


def _path(text: str) -> Wanted:
    match text.split("/"):
        case [""]:
            return Wanted()
        case [name]:
            return Wanted(name=_valid(name, "target"))
        case [word, name]:
            return Wanted(_kind(word, text).word, _valid(name, word))
        case [word, name, container] | [word, name, ("container" | "containers"), container]:
            return Wanted(_kind(word, text).word, _valid(name, word), _valid(container, "container"))
        case _:
            raise Refusal(f"{text} is not understood as a target", _forms())


def _kind(word: str, text: str) -> Kind:
    if found := kind_of(word):
        return found
    like = difflib.get_close_matches(word.lower(), _BY_WORD, n=1, cutoff=0.7)
    meant = f"did you mean {_BY_WORD[like[0]].word}/{text.partition('/')[2]}? " if like else ""
    raise Refusal(f"{word}/… is not a kind of target that is known", meant + _forms())


def _valid(name: str, what: str, *, optional: bool = False) -> str:
    if optional and not name:
        return ""
    if not _NAME.fullmatch(name) or len(name) > 253:
        said = f"{name!r} cannot be the name of a {what}" if name else f"the name of the {what} is missing"
        raise Refusal(said, f"names are lower-case letters, digits, - and .; {_forms()}")
    return name


def _forms() -> str:
    return (
        f"targets are {', '.join(f'{kind.word}/NAME' for kind in KINDS)}, each perhaps with /CONTAINER behind it; "
        "a bare NAME; -l LABELS; or --targetless"
    )
