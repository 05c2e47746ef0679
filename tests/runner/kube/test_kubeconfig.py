"""Which cluster and user kubectl would take from which file, and which proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import Refusal
from runner.kube.kubeconfig import choose
from runner.kube.proxies import proxy_for


def entry(name: str, **fields: Any) -> dict[str, Any]:
    kind = "cluster" if "server" in fields else "context" if "cluster" in fields else "user"
    return {"name": name, kind: fields}


def write(path: Path, *entries: dict[str, Any], current: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = {"clusters": [], "users": [], "contexts": []}
    for one in entries:
        kind = next(key for key in one if key != "name")
        whole[f"{kind}s"].append(one)
    if current:
        whole["current-context"] = current
    path.write_text(yaml.safe_dump(whole))
    return str(path)


SHOP = (
    entry("c", server="https://c"),
    entry("u", token="t"),
    entry("shop", cluster="c", user="u", namespace="shop"),
)


def test_the_current_context_of_the_usual_file(tmp_path: Path) -> None:
    write(tmp_path / ".kube/config", *SHOP, current="shop")
    chosen = choose({}, tmp_path)
    assert (chosen.context, chosen.namespace) == ("shop", "shop")
    assert (chosen.cluster["server"], chosen.user["token"]) == ("https://c", "t")


def test_the_first_file_wins_whole_entries_and_the_current_context(tmp_path: Path) -> None:
    """kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig: "Even if the second file has
    non-conflicting entries under red-user, discard them."."""
    first = write(
        tmp_path / "a", entry("u", token="first"), entry("one", cluster="c", user="u"), current="one"
    )
    second = write(
        tmp_path / "b",
        entry("u", token="second", username="kept-out"),
        entry("c", server="https://c"),
        entry("two", cluster="c", user="u"),
        current="two",
    )
    environ = {"KUBECONFIG": f"{first}::{tmp_path}/none:{second}"}
    chosen = choose(environ, tmp_path)
    assert chosen.context == "one"
    assert chosen.user == {"token": "first"}
    assert chosen.cluster == {"server": "https://c"}
    assert choose(environ, tmp_path, context="two").context == "two"
    assert choose(environ, tmp_path, kubeconfig=second).user["token"] == "second"


def test_paths_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    users = write(
        tmp_path / "users/x",
        entry("u", **{"client-certificate": "u.pem", "client-key": "/k", "tokenFile": "t"}),
    )
    clusters = write(
        tmp_path / "clusters/x",
        entry("c", server="https://c", **{"certificate-authority": "../ca.pem"}),
        entry("x", cluster="c", user="u"),
        current="x",
    )
    chosen = choose({"KUBECONFIG": f"{users}:{clusters}"}, tmp_path)
    assert chosen.user["client-certificate"] == str(tmp_path / "users/u.pem")
    assert chosen.user["client-key"] == "/k"
    assert chosen.user["tokenFile"] == str(tmp_path / "users/t")
    assert chosen.cluster["certificate-authority"] == str(tmp_path / "clusters/../ca.pem")
    assert chosen.folder == str(tmp_path / "users")


@pytest.mark.parametrize(
    ("entries", "current", "context", "what", "next_step"),
    [
        (SHOP, "shop", "shob", "no context 'shob' (--context)", "there is shop; did you mean shop?"),
        (SHOP, "old", "", "no context 'old' (current-context)", "there is shop"),
        (SHOP, "", "", "no context is chosen", "--context: shop"),
        (SHOP[1:], "shop", "", "names the cluster 'c'", "choose another"),
        ((SHOP[0], SHOP[2]), "shop", "", "names the user 'u'", "mend"),
    ],
)
def test_what_is_missing_is_told(
    tmp_path: Path, entries: Any, current: str, context: str, what: str, next_step: str
) -> None:
    write(tmp_path / ".kube/config", *entries, current=current)
    with pytest.raises(Refusal) as refused:
        choose({}, tmp_path, context=context)
    assert what in refused.value.what
    assert next_step in refused.value.next_step


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"there is no kubeconfig at .*/.kube/config"):
        choose({}, tmp_path)
    with pytest.raises(Refusal, match=r"there is no kubeconfig .*none"):
        choose({}, tmp_path, kubeconfig=str(tmp_path / "none"))
    for text in ("{", "[]", "users: [7]", "clusters: 7"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(Refusal, match="bad"):
            choose({"KUBECONFIG": str(tmp_path / "bad")}, tmp_path)


def test_in_a_pod_its_service_account(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00:198:18::1", "KUBERNETES_SERVICE_PORT": "443"}
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("shop\n")
    chosen = choose(environ, tmp_path / "home", account=tmp_path)
    assert chosen.cluster == {
        "server": "https://[fd00:198:18::1]:443",
        "certificate-authority": str(tmp_path / "ca.crt"),
    }
    assert chosen.user == {"tokenFile": str(tmp_path / "token")}
    assert chosen.namespace == "shop"
    write(tmp_path / "home/.kube/config", *SHOP, current="shop")
    assert choose(environ, tmp_path / "home", account=tmp_path).context == "shop", "a kubeconfig wins"


@pytest.mark.parametrize(
    ("url", "no_proxy", "asked"),
    [
        ("https://api.shop.test", "", True),
        ("https://localhost:6443", "", False),
        ("https://127.0.0.1:6443", "", False),
        ("https://[::1]:6443", "", False),
        ("https://api.shop.test", "shop.test", False),
        ("https://shop.test", "shop.test", False),
        ("https://shop.test", ".shop.test", True),
        ("https://api.shop.test", " a, *.shop.test", False),
        ("https://othershop.test", "shop.test", True),
        ("https://api.shop.test:6443", "shop.test:443", True),
        ("https://api.shop.test:6443", "api.shop.test:6443", False),
        ("https://198.18.5.6:6443", "198.18.0.0/16", False),
        ("https://198.19.5.6:6443", "198.18.0.0/16", True),
        ("https://198.18.5.6:6443", "198.18.5.6", False),
        ("https://198.18.5.6:6443", "198.18.5.6:6443", False),
        ("https://198.18.5.6:6443", "198.18.5.6:443", True),
        ("https://[fd00::5]:6443", "fd00::/8", False),
        ("https://[fd00::5]:6443", "[fd00::5]:6443", False),
        ("https://[fd00::5]:6443", "fd00::5", False),
        ("https://api.shop.test", "*", False),
    ],
)
def test_which_requests_a_proxy_gets(url: str, no_proxy: str, asked: bool) -> None:
    """golang.org/x/net/http/httpproxy has the same table."""
    environ = {"HTTPS_PROXY": "proxy.test:3128", "NO_PROXY": no_proxy}
    assert proxy_for(url, environ) == ("http://proxy.test:3128" if asked else "")


def test_which_variable() -> None:
    assert proxy_for("http://x.test", {"HTTPS_PROXY": "http://p"}) == ""
    assert proxy_for("http://x.test", {"http_proxy": "http://p"}) == "http://p"
    assert proxy_for("https://x.test", {"https_proxy": "socks5://p", "no_proxy": "y.test"}) == "socks5://p"
    assert proxy_for("https://x.test", {"HTTPS_PROXY": "http://p", "no_proxy": "x.test"}) == ""
