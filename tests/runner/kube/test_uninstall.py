"""What `uninstall --dry-run` says, and that it leaves everything where it is."""

from __future__ import annotations

from runner.kube.install import uninstall
from runner.kube.install_manifests import InstallOptions, manifests
from runner.kube.object_path import path_of

from .memory import Memory


async def test_what_would_go_is_said_and_stays() -> None:
    cluster, said = Memory(), list[str]()
    cluster.absent.discard("mirrorsessions")
    await uninstall(cluster, "mirror-run", said.append, dry=True)  # type: ignore[arg-type]
    assert said == ["nothing is installed"]
    for one in manifests(InstallOptions(image="a:1")):
        cluster.put(path_of(one), one)
    session = {"metadata": {"namespace": "shop", "name": "cart-x7k2p"}}
    cluster.put("/apis/mirror-run.dev/v1alpha1/namespaces/shop/mirrorsessions/cart-x7k2p", session)
    before, said[:] = dict(cluster.objects), []
    await uninstall(cluster, "", said.append, dry=True)  # type: ignore[arg-type]
    assert said[0] == "would end the session shop/cart-x7k2p"
    assert "would delete DaemonSet mirror-run-agent in mirror-run" in said
    assert said[-1] == "would delete Namespace mirror-run"
    assert cluster.objects == before
