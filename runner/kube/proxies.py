"""Which proxy a request to a server goes through, as Go's net/http (and so kubectl) reads the environment. Pure.

golang.org/x/net/http/httpproxy, Config: HTTPS_PROXY for https, HTTP_PROXY for http, lower case as well; never for
loopback; NO_PROXY has host names (with their subdomains), ".domain" (subdomains alone), addresses, CIDR, all with an
optional port, or "*".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL, or "" for none."""
    parts = urlsplit(url)
    key = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = environ.get(key) or environ.get(key.lower()) or ""
    if not proxy:
        return ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if _left_out(
        (parts.hostname or "").lower(), port, environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    ):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _left_out(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(rule.strip().lower(), host, address, port) for rule in no_proxy.split(","))


def _matches(
    rule: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    if not rule:
        return False
    if rule == "*":
        return True
    if address is not None and "/" in rule:
        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdigit() and _address(rule) is None:
        if int(wanted) != port:
            return False
        rule = name.strip("[]")
    if address is not None:
        return _address(rule) == address
    rule = rule.removeprefix("*")
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
