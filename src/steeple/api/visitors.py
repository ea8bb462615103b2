"""Who may come without a key, where none was ever made: programs on this machine, and no page of another site that a
browser here happens to show. A key would keep such pages out by itself: no browser sends it for them.
"""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request

from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, refusal
from steeple.settings import is_loopback

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OWN_SITE = frozenset({b"same-origin", b"none"})
"""``Sec-Fetch-Site`` of a request that one of our own pages makes, or the browser's user by hand."""

_MOST_SHOWN = 100


def require_local(request: Request) -> None:
    """Raises ``Refusal`` for what comes by a name that is not this machine's, or changes things for another site."""
    hosts = [value for name, value in request.scope["headers"] if name == b"host"]
    for host in hosts:  # a program of old may send none, a browser always does
        if not _is_of_this_machine(host):
            raise refusal(
                Kind.MISDIRECTED,
                f"without an API key this API answers to localhost and to addresses of this machine, not to "
                f"{_shown(host)}: call it by one of those, or make a key with `steeple keys create`",
                Fault("/Host", "is not of this machine", "header"),
            )
    if request.method not in _SAFE_METHODS:
        _require_own_site(dict(request.scope["headers"]), hosts)


def _require_own_site(headers: Mapping[bytes, bytes], hosts: list[bytes]) -> None:
    """Browsers that do not tell the site yet tell the origin; programs that are no browsers tell neither."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        is_foreign, name = site not in _OWN_SITE, "Sec-Fetch-Site"
    else:
        is_foreign, name = origin is not None and origin.partition(b"://")[2] not in hosts, "Origin"
    if is_foreign:
        raise refusal(
            Kind.CROSS_SITE,
            "a page of another site may not do this as long as the API asks for no key: make one with "
            "`steeple keys create`",
            Fault(f"/{name}", "is of another site", "header"),
        )


@lru_cache(64)
def _is_of_this_machine(host: bytes) -> bool:
    """Of a ``Host`` header: a name or an address, with a port or without."""
    try:
        name = urlsplit(b"//" + host).hostname
        return name is not None and is_loopback(name.decode("ascii").removesuffix("."))
    except ValueError:
        return False


def _shown(host: bytes) -> str:
    return repr(host[:_MOST_SHOWN].decode("ascii", "replace"))
