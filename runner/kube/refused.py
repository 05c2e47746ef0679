"""What it means that a pod of ours was not admitted: Pod Security, a quota, a policy, a missing right. Pure.

The same words come as the answer to a request and, for what a controller makes for us, as the message of an event.
"""

from __future__ import annotations

import re

from runner.errors import Refusal
from runner.kube.errors import KubeError

ELSEWHERE = "use --agent-namespace NS, or ask your platform team for `mirror-run install` (docs/security.md)"

_KNOWN: tuple[tuple[str, str, str], ...] = (
    # k8s.io/pod-security-admission: `violates PodSecurity "baseline:latest": non-default capabilities (…), …`
    (
        r'violates PodSecurity "(?P<found>[a-z]+)',
        'namespace {namespace} enforces Pod Security "{found}", which does not admit {what}',
        ELSEWHERE,
    ),
    (
        r"unable to validate against any security context constraint",
        "no SecurityContextConstraint in namespace {namespace} admits {what}",
        ELSEWHERE,
    ),
    (
        r"exceeded quota: (?P<found>[^,]+)",
        "quota {found} of namespace {namespace} has no room for {what}",
        "make room (`kubectl describe quota -n {namespace}`), or use --agent-namespace NS",
    ),
    (
        r"failed quota: (?P<found>[^:]+): must specify (?P<more>.*)",
        "quota {found} of namespace {namespace} wants {more} of every pod, and agents have no CPU limit",
        "give the namespace a LimitRange with defaults, or use --agent-namespace NS",
    ),
    (
        r"(?P<found>(maximum|minimum) (cpu|memory) usage per (Pod|Container) is \S+)",
        "a LimitRange of namespace {namespace} does not admit {what} ({found})",
        "use --agent-namespace NS",
    ),
    (
        r"ValidatingAdmissionPolicy '(?P<found>[^']+)'.*?denied request",
        "the admission policy {found} does not admit {what} in namespace {namespace}",
        ELSEWHERE,
    ),
    (
        r'admission webhook "(?P<found>[^"]+)" denied the request',
        "the admission webhook {found} does not admit {what} in namespace {namespace}",
        ELSEWHERE,
    ),
    (
        r"because it is being terminated",
        "namespace {namespace} is being deleted",
        "choose another with --agent-namespace",
    ),
    (
        r'namespaces "[^"]+" not found',
        "there is no namespace {namespace}",
        "choose another with --agent-namespace, or make it (`kubectl create namespace {namespace}`)",
    ),
    (
        r'serviceaccount "?(?P<found>\S+?)"? not found',
        "namespace {namespace} has no service account {found} yet",
        "try again in a moment: the cluster makes it",
    ),
)

LACKS = re.compile(r"cannot \w+ resource")
"""How the RBAC authorizer's own words are told from an admission plugin's: both come as 403."""


def refused(error: KubeError, what: str, namespace: str) -> Refusal:
    """For the user: what the API server did not let us make. ``what``: "an agent's pod"."""
    known = explained(error.sentence, what, namespace)
    return known or Refusal(error.sentence, error.next_step)


def explained(said: str, what: str, namespace: str) -> Refusal | None:
    """The same of the bare words; None if they are not known. Those stay readable beneath ours."""
    if LACKS.search(said):
        return None
    for pattern, sentence, next_step in _KNOWN:
        if found := re.search(pattern, said, re.DOTALL):
            parts = found.groupdict() | {"namespace": namespace, "what": what}
            return Refusal(f"{sentence.format(**parts)}\n(the API server: {said})", next_step.format(**parts))
    return None


def lacks_right(error: KubeError) -> bool:
    """Whether the caller may not do it at all, whatever the object looks like."""
    return error.forbidden and bool(LACKS.search(error.sentence))
