"""What is asked of the API server before a session is made, and what is said about the answers."""

from __future__ import annotations

import pytest

from runner.config import RunOptions
from runner.errors import Refusal
from runner.kube.rights import Granted, Wish, judge
from runner.kube.wishes import wishes

MIRROR, OUTGOING, ENV = Wish("mirror"), Wish("outgoing"), Wish("env")
ALL = (MIRROR, OUTGOING, ENV)


class Rbac:
    """Allows what it was told, in the words of `kubectl auth can-i`."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed
        self.asked: list[str] = []

    async def allowed(
        self,
        verb: str,
        resource: str,
        *,
        namespace: str,
        group: str = "",
        subresource: str = "",
        name: str = "",
    ) -> bool:
        whole = f"{verb} {resource}" + (f"/{subresource}" if subresource else "")
        assert namespace == "shop"
        assert (group == "mirror-run.dev") == resource.startswith("mirror")
        self.asked.append(whole)
        return whole in self._allowed


async def test_all_rights() -> None:
    rbac = Rbac(
        "get pods", "create mirrorsessions", "create mirrorsessions/outgoing", "create mirrorsessions/env"
    )
    assert await judge(rbac, "shop", ALL) == Granted(("mirror", "outgoing", "env"))
    assert "create pods/exec" not in rbac.asked


async def test_what_nobody_asked_for_is_left_out_and_said() -> None:
    granted = await judge(
        Rbac("get pods", "create mirrorsessions", "create mirrorsessions/outgoing"), "shop", ALL
    )
    assert granted.rights == ("mirror", "outgoing")
    assert granted.without == ("no environment: you lack create mirrorsessions/env in shop",)
    assert not granted.may("env")


async def test_what_was_asked_for_is_refused_in_the_same_words() -> None:
    rbac = Rbac("get pods", "create mirrorsessions", "create mirrorsessions/outgoing")
    with pytest.raises(Refusal) as refused:
        await judge(rbac, "shop", (MIRROR, OUTGOING, Wish("env", asked=True)))
    assert refused.value.what == "no environment: you lack create mirrorsessions/env in shop"
    assert "mirror-run-develop" in refused.value.next_step


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        ((), "you lack create mirrorsessions in shop"),
        (("get pods",), "you lack create mirrorsessions in shop"),
        (("create mirrorsessions",), "you lack get pods in shop"),
    ],
)
async def test_without_these_there_is_no_session(allowed: tuple[str, ...], said: str) -> None:
    with pytest.raises(Refusal) as refused:
        await judge(Rbac(*allowed), "shop", ALL)
    assert refused.value.what == said


async def test_like_exec_stands_for_all() -> None:
    rbac = Rbac("get pods", "create mirrorsessions", "create pods/exec")
    wishes = (MIRROR, ENV, Wish("steal", asked=True))
    assert (await judge(rbac, "shop", wishes, like_exec=True)).rights == ("mirror", "env", "steal")


async def test_like_exec_gives_nothing_to_who_may_not_execute() -> None:
    """Everybody may then create the object: the right to mirror is a word of its own."""
    with pytest.raises(Refusal, match="you lack create mirrorsessions in shop"):
        await judge(Rbac("get pods", "create mirrorsessions"), "shop", ALL, like_exec=True)
    rbac = Rbac("get pods", "create mirrorsessions", "create mirrorsessions/mirror")
    assert (await judge(rbac, "shop", ALL, like_exec=True)).rights == ("mirror",)


async def test_steal_asks_for_the_role_that_has_it() -> None:
    with pytest.raises(Refusal) as refused:
        await judge(Rbac("get pods", "create mirrorsessions"), "shop", (MIRROR, Wish("steal", asked=True)))
    assert "mirror-run-full" in refused.value.next_step


# --- what a command line asks for -------------------------------------------------------------------------------------

OPTIONS = {
    "nothing": RunOptions("deploy/cart"),
    "-e": RunOptions("deploy/cart", env=("COLOUR=red",), env_files=("some.env",)),
    "--ignore-port": RunOptions("deploy/cart", ignore_ports=(9229,)),
    "--override-env-vars-include": RunOptions("deploy/cart", env_include="COLOUR"),
    "--override-env-vars-exclude": RunOptions("deploy/cart", env_exclude="SECRET_*"),
    "--map-env": RunOptions("deploy/cart", env_mapped=(".+_URL=x",)),
    "--map-port": RunOptions("deploy/cart", map_ports=("3000:80",)),
    "--fs-mode": RunOptions("deploy/cart", fs_mode="read"),
    "the rules for files": RunOptions("deploy/cart", fs_local=("^/srv",)),
}
ASKED = {
    "--override-env-vars-include": "env",
    "--override-env-vars-exclude": "env",
    "--map-env": "env",
    "--map-port": "mirror",
    "--fs-mode": "files",
    "the rules for files": "files",
}
RESOURCES = {
    "mirror": "mirrorsessions",
    "outgoing": "mirrorsessions/outgoing",
    "env": "mirrorsessions/env",
    "files": "mirrorsessions/files",
}
WHAT = {
    "mirror": "mirroring",
    "outgoing": "connections from the target",
    "env": "environment",
    "files": "files",
}


@pytest.mark.parametrize("missing", [*RESOURCES, ""])
@pytest.mark.parametrize("option", OPTIONS)
async def test_a_right_that_is_missing(option: str, missing: str) -> None:
    """With everybody's right to the object itself (--like-exec), so that mirroring can be missing alone."""
    has = [f"create {resource}" for right, resource in RESOURCES.items() if right not in (missing, "mirror")]
    has += ["create mirrorsessions/mirror"] if missing != "mirror" else []
    rbac = Rbac("get pods", "create mirrorsessions", *has)
    lacks = f"no {WHAT.get(missing, '')}: you lack create {RESOURCES.get(missing, '')} in shop"
    asking = judge(rbac, "shop", wishes(OPTIONS[option]), like_exec=True)
    if missing and ASKED.get(option) == missing:
        with pytest.raises(Refusal) as refused:
            await asking
        assert refused.value.what == lacks
        assert refused.value.next_step.startswith(f"leave out {option}, which asks for it, or ask")
    else:
        granted = await asking
        assert set(granted.rights) == set(RESOURCES) - {missing}
        assert granted.without == ((lacks,) if missing else ())
