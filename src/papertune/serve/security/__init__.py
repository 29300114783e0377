"""What keeps other people and other pages out: pure ASGI middleware, the outermost first.

headers.py     what browsers are told about every answer
hosts.py       the Host header is an address of this machine: DNS rebinding
access.py      the token, its cookie, Bearer
origins.py     a request that changes something comes from the page itself: CSRF
bodies.py      the size of what is sent
"""

from fastapi import FastAPI

from papertune.serve.security.access import Access
from papertune.serve.security.bodies import Bodies
from papertune.serve.security.headers import Headers
from papertune.serve.security.hosts import Hosts
from papertune.serve.security.keys import Keys
from papertune.serve.security.origins import Origins


def protect(app: FastAPI, keys: Keys, host: str, port: int) -> None:
    """Put the middleware around an app.

    Args:
        app: The app.
        keys: What a request must know.
        host: Address or name at which the server listens.
        port: Its port, which is part of the cookie's name: browsers share cookies among the ports of a machine.
    """
    app.add_middleware(Bodies)
    app.add_middleware(Origins)
    app.add_middleware(Access, keys=keys, cookie=f"papertune_{port}")
    app.add_middleware(Hosts, listens_at=host)
    app.add_middleware(Headers)
