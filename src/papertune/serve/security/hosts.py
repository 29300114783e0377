"""The check of the Host header: a page elsewhere must not reach the server by a name of its own (DNS rebinding).

Starlette's `TrustedHostMiddleware` takes "[::1]:8765" apart at its first colon.
"""

import re
import socket
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from papertune.errors import quoted
from papertune.serve.errors import ServeError
from papertune.serve.security.refusals import refusal, single_header

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)


class Hosts:
    """Refuses a request whose Host header is no address of this machine.

    Args:
        app: The app.
        listens_at: Address or name at which the server listens.
    """

    def __init__(self, app: ASGIApp, listens_at: str) -> None:
        self._app = app
        self._is_public = not is_loopback(listens_at)
        self._names = {"localhost"}
        if self._is_public:
            self._names |= {listens_at.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and not self._is_own(single_header(scope, "host") or ""):
            host = single_header(scope, "host") or ""
            message = (
                f"the server is not at the address {quoted(host)}. Open the address that "
                "papertune serve has printed, or start it with --host and this name."
            )
            await refusal(scope, ServeError(403, "foreign_host", message, host=host))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, header: str) -> bool:
        host = host_of(header)
        if host is None:
            return False
        # An address, unlike a name, belongs to one machine whoever says it; 0.0.0.0 is no machine.
        return host in self._names or is_loopback(host) or (self._is_public and _is_address(host))


def host_of(header: str) -> str | None:
    """Return the name or address in a Host header, in small letters, without port and brackets; None if it is none."""
    found = _HOST.fullmatch(header)
    return (found[1] or found[2]).lower().removesuffix(".") if found else None


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be reached on this machine."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_address(host: str) -> bool:
    try:
        return not ip_address(host).is_unspecified
    except ValueError:
        return False
