"""Who may ask for what: hosts, against pages that make a name of theirs mean this machine, and origins.

A page of any site may send requests to this machine from the browser of somebody who visits it. It cannot
read the answers, unless its host name has come to mean this machine meanwhile; and it must not cancel runs.
So a server on loopback answers to the names of loopback only, and a cancel has to come from the dashboard's
own page, or from no browser at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["SECURITY_HEADERS", "checked_hosts", "is_own_origin", "refused_host"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
"""What goes with each answer: nothing is loaded from elsewhere, run inline, framed or kept."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

_DEFAULT_PORTS = {"http": "80", "https": "443"}


def checked_hosts(hosts: object) -> frozenset[str] | None:
    """What `hosts=` says.

    Raises:
        TypeError: It is no list of names.
        ValueError: A name has a scheme, a port or a path.
    """
    if hosts is None:
        return None
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise TypeError(f"hosts= takes a list of host names, not {hosts!r}: hosts=['graphs.example.com']")
    given = list(hosts)
    for host in given:
        if not isinstance(host, str):
            raise TypeError(f"hosts= takes a list of host names, and {host!r} is none")
        if not host or "/" in host or _without_port(host) != host.lower():
            raise ValueError(f"hosts= takes names without scheme, port and path, not {host!r}")
    return frozenset(host.lower() for host in given)


def refused_host(scope: Any, host: str, allowed: Collection[str] | None) -> str | None:
    """Why a request to this host is not answered, or None if it is."""
    name = _without_port(host)
    if name in _LOOPBACK_NAMES:
        return None
    if allowed is None:
        if not _is_on_loopback(scope):
            return None
    elif name in allowed or "*" in allowed:
        return None
    return (
        f"The dashboard does not answer to the host {name!r}. If it is meant to, say so where it is made: "
        f"dashboard(runtime, hosts=[{name!r}])"
    )


def is_own_origin(headers: dict[str, str]) -> bool:
    """Whether a request comes from a page of the same origin, or from no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, place = origin.partition("://")
    # The scheme is not compared: where TLS ends at a proxy, we do not know it.
    port = _DEFAULT_PORTS.get(scheme, "")
    return bool(place) and _with_port(place, port) == _with_port(headers.get("host", ""), port)


def _is_on_loopback(scope: Any) -> bool:
    server = scope.get("server")
    try:
        return server is not None and ipaddress.ip_address(server[0]).is_loopback
    except ValueError:  # a name, as tests have, or the path of a socket
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _with_port(host: str, port: str) -> str:
    name = _without_port(host)
    return name + (host[len(name) :] or f":{port}")
