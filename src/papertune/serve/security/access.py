"""Who may ask: the printed address once, then a cookie; `Authorization: Bearer TOKEN` for programs.

/health needs nothing. Somebody without a cookie gets a form for the token, so that several people can read on one
server.
"""

from base64 import b64encode
from hashlib import sha256
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from papertune.serve.errors import ServeError
from papertune.serve.security.keys import Keys
from papertune.serve.security.refusals import refusal, single_header

_OPEN_PATHS = {"/health"}
_FORM = (Path(__file__).parent / "sign_in.html").read_text("utf-8")
# The form comes before any file of the page may be read, so its style is in it and known by its checksum.
_STYLE = _FORM.partition("<style>")[2].partition("</style>")[0]
_FORM_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_MAX_FORM_BYTES = 10_000
_COOKIE_SECONDS = 30 * 24 * 3600
# Set in the scope of a request that only a program sends: no page elsewhere can.
BY_BEARER = "papertune.by_bearer"


class Access:
    """Lets in who knows the token.

    Args:
        app: The app.
        keys: The token, and the value of the cookie.
        cookie: The cookie's name.
    """

    def __init__(self, app: ASGIApp, keys: Keys, cookie: str) -> None:
        self._app = app
        self._keys = keys
        self._cookie = cookie
        self._address_used = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = await self._check(request)
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def _check(self, request: Request) -> Response | None:
        """Return the answer to somebody who is not let in yet, or None."""
        if "authorization" in request.headers:
            scheme, _, given = (single_header(request.scope, "authorization") or "").partition(" ")
            if scheme.lower() != "bearer" or not _same(given.strip(), self._keys.token):
                return self._refuse(request, "the token is wrong. Use the one that papertune serve has printed.")
            request.scope[BY_BEARER] = "cookie" not in request.headers
            return None
        known = _same(self._session(request), self._keys.session)
        if request.method == "GET" and "token" in request.query_params:
            return self._open_address(request, known)
        if request.method == "POST" and request.url.path == "/sign-in":
            return await self._sign_in(request)
        if known:
            return None
        return self._refuse(
            request, "a token is needed. Open the address that papertune serve has printed, or send the header "
            "Authorization: Bearer TOKEN."
        )  # fmt: skip

    def _open_address(self, request: Request, known: bool) -> Response:
        if not known:
            if not _same(request.query_params["token"], self._keys.token):
                return self._refuse(request, "the token is wrong. Use the one that papertune serve has printed.")
            if self._address_used:
                return self._refuse(
                    request, "this address was opened already, and it works once. Enter the token to open the page in "
                    "another browser."
                )  # fmt: skip
            self._address_used = True
        # The token leaves the address line and the history.
        rest = urlencode([(name, value) for name, value in parse_qsl(request.url.query) if name != "token"])
        # Never to another site: "//elsewhere" would be one.
        path = "/" + request.url.path.lstrip("/")
        return self._admit(f"{path}?{rest}" if rest else path)

    async def _sign_in(self, request: Request) -> Response:
        form = bytearray()
        try:
            async for chunk in request.stream():
                form += chunk
                if len(form) > _MAX_FORM_BYTES:
                    break
        except ClientDisconnect:
            return Response(status_code=400)
        given = parse_qs(form[:_MAX_FORM_BYTES].decode("latin-1")).get("token", [""])[0].strip()
        if _same(given, self._keys.token):
            return self._admit("/")
        return self._refuse(request, "the token is wrong. Use the one that papertune serve has printed.")

    def _admit(self, path: str) -> Response:
        answer = RedirectResponse(path, 303)
        answer.set_cookie(
            self._cookie, self._keys.session, max_age=_COOKIE_SECONDS, path="/", httponly=True, samesite="strict"
        )
        return answer

    def _refuse(self, request: Request, message: str) -> Response:
        if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(("/api/", "/v1/")):
            page = _FORM.replace("MESSAGE", message[0].upper() + message[1:])
            answer: Response = HTMLResponse(page, 401, {"Content-Security-Policy": _FORM_POLICY})
        else:
            answer = refusal(request.scope, ServeError(401, "no_access", message))
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _session(self, request: Request) -> str:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(request.headers.get("cookie", ""))
        except CookieError:
            return ""
        return cookies[self._cookie].value if self._cookie in cookies else ""


def _same(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on where the first difference is."""
    return compare_digest(given.encode(errors="surrogateescape"), expected.encode())
