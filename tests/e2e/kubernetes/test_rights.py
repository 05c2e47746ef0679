"""Who may do what with the installed agents: every refusal names the verb and the resource, or says nothing at all.

People are impersonated by the administrator; the agents are the real ones, reached as the runner reaches them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from links.link import CallFailed, LinkEnded
from runner.errors import Refusal
from runner.kube import admission, kinds
from runner.kube.agents import AgentPod
from runner.kube.daemonset import Installed
from runner.kube.errors import KubeError
from runner.kube.object_path import path_of
from runner.kube.pod import Pod
from runner.kube.rights import Wish
from runner.kube.session_object import SessionObject, Wanted
from wire import messages as m

from .installation import (
    AGENTS,
    HERE,
    THERE,
    VARIABLE,
    Json,
    Person,
    Standing,
    apply,
    bind,
    kubectl,
    namespaces,
    person,
    role,
)
from .scene import Images

NOT_PROVED = "no session of that name has that secret"


@pytest.fixture(scope="module", autouse=True)
def furnished(images: Images, standing: Standing) -> Iterator[None]:
    """What was installed is not left to others: policies were taken away here, and rights given."""
    standing.ensure()
    try:
        with namespaces(images.agent):
            apply(
                bind(HERE, "mirror-run-full", "fay", "nan"),
                bind(THERE, "mirror-run-full", "tess"),
                bind(HERE, "mirror-run-mirror", "mia"),
                bind(HERE, "mirror-run-develop", "dev"),
                bind(HERE, "view", "vic"),
                role(HERE, "create-only", ("mirror-run.dev", "mirrorsessions", "create")),
                bind(HERE, "create-only", "bo", "ex", "zoe", kind="Role"),
                role(HERE, "see", ("", "pods", "get")),
                bind(HERE, "see", "ex", "zoe", kind="Role"),
                role(HERE, "execute", ("", "pods/exec", "create")),
                bind(HERE, "execute", "ex", kind="Role"),
                bind(AGENTS, "mirror-run-connect", "fay", "tess", "mia", "dev", "vic", "eve", kind="Role"),
            )
            yield
    finally:
        standing.gone()


@asynccontextmanager
async def beside(who: Person, agents: Installed) -> AsyncIterator[tuple[AgentPod, Pod]]:
    """The agent of the target's first pod."""
    target = await who.target(agents.founder.namespace)
    pod = target.pods[0]
    yield (await agents.agent_for([pod]))[pod.uid], pod


def session(author: str, *rights: str) -> Json:
    return {
        "apiVersion": kinds.API,
        "kind": "MirrorSession",
        "metadata": {"generateName": "t-"},
        "spec": {
            "author": author,
            "target": "deploy/cart",
            "mode": "mirror",
            "rights": list(rights),
            "secretHash": "0" * 64,
        },
    }


async def refused(who: Person, body: Json, namespace: str = HERE) -> str:
    with pytest.raises(KubeError) as error:
        await who.cluster.create(kinds.sessions_path(namespace), body)
    assert error.value.status in (403, 422)
    return error.value.sentence


# --- rights ---------------------------------------------------------------------------------------------------------


async def test_all_rights() -> None:
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, pod):
        assert fay.said == []
        async with fay.founded(agents, agent) as link:
            attached = await link.call(m.Attach(0, 0, pod.container_id, pod.name))
            assert isinstance(attached, m.Attached)
            assert attached.identity.hostname == pod.name
            environ = await link.call(m.GetEnviron(0, 0))
            assert isinstance(environ, m.Environ)
            assert VARIABLE in environ.variables


async def test_mirror_only() -> None:
    async with person("mia") as mia, mia.session() as agents, beside(mia, agents) as (agent, pod):
        assert mia.said == [
            f"no connections from the target: you lack create mirrorsessions/outgoing in {HERE}",
            f"no environment: you lack create mirrorsessions/env in {HERE}",
        ]
        async with mia.founded(agents, agent) as link:
            await link.call(m.Attach(0, 0, pod.container_id, pod.name))
            with pytest.raises(CallFailed, match=f"you lack create mirrorsessions/env in {HERE}"):
                await link.call(m.GetEnviron(0, 0))


@pytest.mark.parametrize("right", ["outgoing", "env", "files", "files-write", "steal"])
async def test_the_api_server_itself_refuses_more(right: str) -> None:
    """Whoever leaves our client aside gets the same words."""
    async with person("mia") as mia:
        said = await refused(mia, session("mia", "mirror", right))
        assert f"you lack create mirrorsessions/{right} in {HERE}" in said


async def test_what_was_asked_for_is_refused() -> None:
    async with person("mia") as mia:
        agents = await mia.agents([Wish("mirror"), Wish("env", asked=True)])
        with pytest.raises(Refusal, match=f"no environment: you lack create mirrorsessions/env in {HERE}"):
            await agents.prepare()
        await agents.close()


async def test_no_right() -> None:
    async with person("vic") as vic:
        with pytest.raises(Refusal, match=f"you lack create mirrorsessions in {HERE}"):
            await (await vic.agents()).prepare()
        assert "create mirrorsessions" in await refused(vic, session("vic", "mirror"))


async def test_create_without_get_pods() -> None:
    async with person("bo") as bo:
        assert f"you lack get pods in {HERE}" in await refused(bo, session("bo", "mirror"))


async def test_rights_of_one_namespace_are_none_in_another() -> None:
    async with person("fay") as fay:
        assert f"namespace {THERE}" in await refused(fay, session("fay", "mirror"), THERE)


async def test_no_way_to_the_agents() -> None:
    async with person("nan") as nan:
        agents = await nan.agents()
        with pytest.raises(Refusal, match=f"create pods/portforward in namespace {AGENTS}") as said:
            await agents.prepare()
        assert "Role mirror-run-connect" in said.value.next_step
        assert (await _sessions_of("nan")) == []


async def _sessions_of(author: str) -> list[Json]:
    async with person("") as admin:
        found, _ = await admin.cluster.list(kinds.sessions_path(HERE))
    return [one for one in found if one["spec"]["author"] == author]


# --- proofs ---------------------------------------------------------------------------------------------------------


async def test_a_port_forward_and_nothing_else() -> None:
    async with (
        person("fay") as fay,
        fay.session() as agents,
        beside(fay, agents) as (agent, _),
        person("eve") as eve,
    ):
        for says in (
            {"session": "nothing", "namespace": HERE},
            {"session": "nothing", "namespace": ""},
            {"session": "", "namespace": ""},
            {"session": "x/../../../../api/v1/namespaces/kube-system/secrets/y", "namespace": HERE},
            {"session": agents.founder.session, "namespace": HERE},
            {"session": agents.founder.session, "namespace": THERE},
        ):
            with pytest.raises(LinkEnded):
                async with eve.link(agent, secret=b"e" * 32, **says):
                    pass


async def test_a_name_without_its_secret() -> None:
    """Whether there is such a session is told to nobody who cannot prove it."""
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, _):
        heard = []
        async with person("eve") as eve:
            for name in (agents.founder.session, "cart-nope"):
                with pytest.raises(LinkEnded) as ended:
                    async with eve.link(agent, session=name, namespace=HERE, secret=b"e" * 32):
                        pass
                heard.append(ended.value.reason)
        assert heard == [NOT_PROVED, NOT_PROVED]
        async with fay.founded(agents, agent), person("eve") as eve:
            with pytest.raises(LinkEnded, match=NOT_PROVED):
                async with eve.link(agent, session=agents.founder.session, namespace=HERE, secret=b"e" * 32):
                    pass


async def test_the_hash_is_no_secret() -> None:
    """Whoever may read the object must not be able to use it."""
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, _):
        async with person("") as admin:
            found = await admin.cluster.get(kinds.sessions_path(HERE, agents.founder.session))
        digest = bytes.fromhex(found["spec"]["secretHash"])
        with pytest.raises(LinkEnded, match=NOT_PROVED):
            async with fay.link(agent, session=agents.founder.session, namespace=HERE, secret=digest):
                pass


async def test_a_secret_of_another_namespaces_session() -> None:
    async with person("tess") as tess, tess.session(namespace=THERE) as agents, person("") as admin:
        here = (await admin.target(HERE)).pods
        there = (await admin.target(THERE)).pods
        agent = (await agents.agent_for([here[0]]))[here[0].uid]
        (beside_it,) = (pod for pod in there if pod.node == here[0].node)
        founder = agents.founder
        with pytest.raises(LinkEnded, match=NOT_PROVED):
            async with tess.link(agent, session=founder.session, namespace=HERE, secret=founder.secret):
                pass
        async with tess.founded(agents, agent) as link:
            with pytest.raises(CallFailed, match=f"pod {THERE}/{here[0].name} does not exist"):
                await link.call(m.Attach(0, 0, here[0].container_id, here[0].name))
            with pytest.raises(CallFailed, match=f"pod {THERE}/{beside_it.name} has no container"):
                await link.call(m.Attach(0, 0, here[0].container_id, beside_it.name))
            with pytest.raises(CallFailed, match="cannot be the name of a pod"):
                await link.call(m.Attach(0, 0, here[0].container_id, f"../../{HERE}/pods/{here[0].name}"))
            with pytest.raises(CallFailed):
                await link.call(m.Attach(0, 0, here[0].container_id, ""))
            await link.call(m.Attach(0, 0, beside_it.container_id, beside_it.name))


async def test_a_pod_of_another_node() -> None:
    async with person("fay") as fay, fay.session() as agents:
        first, second = (await fay.target()).pods
        assert first.node != second.node
        agent = (await agents.agent_for([first]))[first.uid]
        async with fay.founded(agents, agent) as link:
            with pytest.raises(CallFailed, match=f"is not on node {first.node}"):
                await link.call(m.Attach(0, 0, second.container_id, second.name))


async def test_another_authors_object() -> None:
    async with person("fay") as fay, person("dev") as dev, dev.session() as agents:
        said = await refused(fay, session("dev", "mirror"))
        assert "spec.author is dev and you are fay" in said
        path = kinds.sessions_path(HERE, agents.founder.session)
        with pytest.raises(KubeError, match="the lease of a session is renewed by its author, dev"):
            await fay.cluster.patch(f"{path}/status", {"status": {"renewTime": "2030-01-01T00:00:00Z"}})
        async with person("") as admin:
            with pytest.raises(KubeError, match="a session never changes"):
                await admin.cluster.patch(path, {"spec": {"secretHash": "1" * 64}})
            with pytest.raises(KubeError, match="has no finalizers"):
                await admin.cluster.patch(path, {"metadata": {"finalizers": ["example.com/stay"]}})


# --- what the cluster's people allow ----------------------------------------------------------------------------------


@asynccontextmanager
async def allowed(**spec: object) -> AsyncIterator[None]:
    """The MirrorPolicy with these for a while."""
    async with person("") as admin:

        async def put(values: Json) -> None:
            patch = [{"op": "replace", "path": f"/spec/{name}", "value": it} for name, it in values.items()]
            await admin.cluster.patch(kinds.policy_path(), patch, kind="json")

        before = (await admin.cluster.get(kinds.policy_path()))["spec"]
        await put(spec)
        try:
            yield
        finally:
            await put({name: before[name] for name in spec})


NAME_LABEL = "kubernetes.io/metadata.name"


@pytest.mark.parametrize(
    ("namespaces", "fits"),
    [
        ({"matchLabels": {NAME_LABEL: HERE}}, True),
        ({"matchLabels": {NAME_LABEL: THERE}}, False),
        ({"matchLabels": {NAME_LABEL: HERE, "team": "shop"}}, False),
        ({"matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": [HERE, "x"]}]}, True),
        ({"matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": NAME_LABEL, "operator": "NotIn", "values": [HERE]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["shop"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, True),
    ],
)
async def test_namespaces_by_their_labels(namespaces: Json, fits: bool) -> None:
    words = f"namespace {HERE} is not one that mirrorpolicy default allows sessions in"
    async with person("fay") as fay:
        if fits:  # first something that does not fit, so that the change is seen
            async with allowed(namespaces={"matchLabels": {"no": "such"}}):
                await _until(lambda said: words in said, fay, "mirror")
        async with allowed(namespaces=namespaces):
            await _until(lambda said: not said if fits else words in said, fay, "mirror")


async def _until(answers: Callable[[str], bool], who: Person, *rights: str) -> None:
    """What is said to a session of ``who`` ("": it may be). The API server hears of parameters by a watch
    and tells nobody when it has."""
    deadline = time.monotonic() + 5
    while not answers(said := await _tried(who, *rights)):
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.05)


async def _tried(who: Person, *rights: str) -> str:
    try:
        await who.cluster.create(kinds.sessions_path(HERE), session(who.name, *rights), dryRun="All")
    except KubeError as error:
        return error.sentence
    return ""


async def test_a_session_lasts_no_longer_than_it_may() -> None:
    async with (
        allowed(longestSessionSeconds=2),
        person("fay") as fay,
        fay.session() as agents,
        beside(fay, agents) as (agent, _),
        fay.founded(agents, agent) as link,
    ):
        begun = time.monotonic()
        reason = await asyncio.wait_for(link.ended, 5)
        assert "sessions may last 2 s here" in reason
        assert 1.5 < time.monotonic() - begun < 4


async def test_like_exec() -> None:
    """Whoever may execute in the pods has all rights there, and nobody else has more than before."""
    async with allowed(likeExec=True), person("ex") as ex, person("zoe") as zoe, person("bo") as bo:
        await _until(lambda said: not said, ex, *kinds.RIGHTS)
        assert f"you lack create mirrorsessions in {HERE}" in await refused(zoe, session("zoe", "mirror"))
        assert f"you lack get pods in {HERE}" in await refused(bo, session("bo", "mirror"))
    async with person("ex") as ex:
        await _until(
            lambda said: f"you lack create mirrorsessions/env in {HERE}" in said, ex, "mirror", "env"
        )


# --- the end --------------------------------------------------------------------------------------------------------


async def test_deleting_the_object_ends_the_session_within_a_second() -> None:
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, pod):
        async with fay.founded(agents, agent) as link:
            await link.call(m.Attach(0, 0, pod.container_id, pod.name))
            begun = time.monotonic()
            await asyncio.to_thread(kubectl, "delete", "mirrorsession", "-n", HERE, agents.founder.session)
            asked = time.monotonic()
            reason = await asyncio.wait_for(link.ended, 2)
            assert time.monotonic() - asked < 1, f"{time.monotonic() - begun:.2f} s with kubectl"
            assert f"MirrorSession {HERE}/{agents.founder.session} was deleted" in reason
        with pytest.raises(LinkEnded, match=NOT_PROVED):
            async with fay.founded(agents, agent):
                pass


async def test_events_and_a_line_say_who_did_what() -> None:
    async with person("fay") as fay:
        async with fay.session() as agents, beside(fay, agents) as (agent, pod):
            async with fay.founded(agents, agent) as link:
                await link.call(m.Attach(0, 0, pod.container_id, pod.name))
            name = agents.founder.session
        async with person("") as admin:
            for reason in ("MirrorSessionBegan", "MirrorSessionEnded"):
                for kind, about in (("Pod", pod.name), ("Deployment", "cart")):
                    selector = f"involvedObject.kind={kind},involvedObject.name={about},reason={reason}"
                    events, version = await admin.cluster.list(
                        f"/api/v1/namespaces/{HERE}/events", fieldSelector=selector
                    )
                    if not any("fay" in event["message"] for event in events):
                        async with asyncio.timeout(5):
                            watch = admin.cluster.watch(
                                f"/api/v1/namespaces/{HERE}/events", version, fieldSelector=selector
                            )
                            async for _, event in watch:
                                if "fay" in event["message"]:
                                    break
            log = await admin.cluster.text(
                f"/api/v1/namespaces/{AGENTS}/pods/{agent.pod}/log", tailLines="50"
            )
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        (line,) = (one for one in lines if one["session"] == f"{HERE}/{name}")
        assert line["author"] == "fay"
        assert line["target"] == "deploy/cart"
        assert line["mode"] == "mirror"
        assert line["pods"] == [pod.name]
        assert line["node"] == pod.node
        assert line["seconds"] >= 0


async def test_an_agent_that_is_replaced_takes_the_session_up() -> None:
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, pod):
        async with fay.founded(agents, agent) as link:
            await asyncio.to_thread(kubectl, "delete", "pod", "-n", AGENTS, agent.pod)
            assert "the agent was ended" in await asyncio.wait_for(link.ended, 10)
        heir = await agents.again(agent)
        assert heir.pod != agent.pod
        deadline = time.monotonic() + 15
        while True:
            try:
                async with fay.founded(agents, heir) as link:
                    await link.call(m.Attach(0, 0, pod.container_id, pod.name))
                return
            except (LinkEnded, KubeError):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_lapsed_sessions_end_and_are_collected() -> None:
    """One that an agent serves ends after 60 s without its runner; one that no agent ever saw is found by a look."""
    async with person("fay") as fay, person("") as admin:
        served = await SessionObject.create(
            fay.cluster, Wanted(HERE, "fay", "deploy/cart", "web", "mirror", ("mirror",))
        )
        unseen = await SessionObject.create(
            fay.cluster, Wanted(HERE, "fay", "deploy/cart", "web", "mirror", ("mirror",))
        )
        _, version = await admin.cluster.list(kinds.sessions_path(HERE))
        agents = await fay.agents()
        pod = (await fay.target()).pods[0]
        agent = (await agents.agent_for([pod]))[pod.uid]
        begun = time.monotonic()
        async with fay.link(agent, session=served.name, namespace=HERE, secret=served.secret) as link:
            reason = await asyncio.wait_for(link.ended, 70)
        assert "its lease lapsed" in reason
        assert 55 < time.monotonic() - begun < 70
        gone: set[str] = set()
        async with asyncio.timeout(150):
            async for kind, one in admin.cluster.watch(kinds.sessions_path(HERE), version):
                if kind == "DELETED":
                    gone.add(one["metadata"]["name"])
                if {served.name, unseen.name} <= gone:
                    break


# --- the policy, last: what is made within 10 s of a change of it does not count --------------------------------------


async def test_without_the_policy_no_session_begins() -> None:
    """What is made while nobody judges never counts, also when the policy is back: here by somebody who
    lacks nearly all that it asks for."""
    async with person("mia") as mia, person("") as admin:
        agents = await mia.agents()
        pod = (await mia.target()).pods[0]
        agent = (await agents.agent_for([pod]))[pod.uid]
        for one, words in (
            (admission.binding(), "ValidatingAdmissionPolicyBinding mirror-run-sessions is missing"),
            (admission.policy(), "ValidatingAdmissionPolicy mirror-run-sessions is missing"),
        ):
            await admin.cluster.delete(path_of(one))
            try:
                await _until(lambda said: not said, mia, *kinds.RIGHTS)
                unjudged = await SessionObject.create(
                    mia.cluster, Wanted(HERE, "mia", "deploy/cart", "web", "mirror", kinds.RIGHTS)
                )
                says = {"session": unjudged.name, "namespace": HERE, "secret": unjudged.secret}
                with pytest.raises(LinkEnded, match=words):
                    async with mia.link(agent, **says):
                        pass
            finally:
                await admin.cluster.patch(
                    path_of(one), one, kind="apply", fieldManager="mirror-run", force="true"
                )
            with pytest.raises(LinkEnded, match="nobody judged it: run again"):
                async with mia.link(agent, **says):
                    pass
            await unjudged.delete()
            await _until(lambda said: "you lack" in said, mia, *kinds.RIGHTS)


async def test_a_policy_that_only_warns_is_none() -> None:
    async with person("fay") as fay, fay.session() as agents, beside(fay, agents) as (agent, _):
        path = path_of(admission.binding())
        async with person("") as admin:
            await admin.cluster.patch(path, {"spec": {"validationActions": ["Warn"]}})
            try:
                with pytest.raises(LinkEnded, match="is not the one these agents were installed with"):
                    async with fay.founded(agents, agent):
                        pass
            finally:
                await admin.cluster.patch(path, {"spec": {"validationActions": ["Deny"]}})
