"""Each row of the table of docs/serve.md: who may ask, from where, and what of a file is believed."""

import re

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from papertune.errors import OutputError
from papertune.serve.app import create_app
from papertune.serve.security.hosts import host_of, is_loopback
from papertune.serve.security.keys import open_keys

URL = "http://localhost:8765"
TOKEN, SESSION = "a-token-for-tests", "a-session-for-tests"
COOKIE = {"Cookie": f"papertune_8765={SESSION}"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def stranger(app):
    return TestClient(app, base_url=URL, follow_redirects=False)


def refused(answer, status, code):
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    return answer.json()["error"]["message"]


def test_without_a_token_only_health_answers(stranger):
    assert stranger.get("/health").status_code == 200
    for path in ("/api/session", "/api/tables", "/openapi.json", "/", "/api/nothing"):
        answer = stranger.get(path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        message = refused(answer, 401, "no_access")
    assert message == (
        "a token is needed. Open the address that papertune serve has printed, or send the header Authorization: "
        "Bearer TOKEN."
    )


def test_openai_routes_refuse_in_openais_shape(stranger):
    error = stranger.get("/v1/models").json()["error"]
    assert set(error) == {"message", "type", "param", "code"}


def test_the_printed_address_works_once_and_becomes_a_cookie(app, stranger):
    answer = stranger.get(f"/?token={TOKEN}&lang=zh")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=zh")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(rf"papertune_8765={SESSION}; HttpOnly; Max-Age=2592000; Path=/; SameSite=strict", cookie)
    assert stranger.get("/api/session").status_code == 200
    # The same browser may open the address again, another one may not.
    assert stranger.get(f"/?token={TOKEN}").status_code == 303
    other = TestClient(app, base_url=URL, follow_redirects=False)
    message = refused(other.get(f"/?token={TOKEN}"), 401, "no_access")
    assert message == (
        "this address was opened already, and it works once. Enter the token to open the page in another browser."
    )


def test_another_browser_signs_in_with_the_token(stranger):
    page = stranger.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'action="/sign-in"' in page.text
    assert refused(stranger.post("/sign-in", content="token=guess"), 401, "no_access").startswith("the token is wrong")
    answer = stranger.post("/sign-in", content=f"token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert stranger.get("/api/session").status_code == 200


def test_the_address_leads_to_no_other_site(stranger):
    assert stranger.get(f"{URL}//evil.example/?token={TOKEN}").headers["location"] == "/evil.example/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer guess"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xff", **COOKIE},
        {"Cookie": "papertune_8765=guess"},
        {"Cookie": f"papertune_1={SESSION}"},
        {"Cookie": f"papertune_8765={TOKEN}"},
        {"Cookie": '\xff="; ='},
    ],
)
def test_a_wrong_token_or_cookie_is_refused(stranger, headers):
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    refused(stranger.get("/api/session", headers=sent), 401, "no_access")
    refused(stranger.get("/?token=guess", headers=sent), 401, "no_access")


def test_a_token_or_its_cookie_is_let_in(stranger):
    assert stranger.get("/api/session", headers=BEARER).status_code == 200
    assert stranger.get("/api/session", headers=COOKIE).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "127.8.9.1", "[::1]", "[::1]:8765"])
def test_an_address_of_this_machine_is_served(stranger, host):
    assert stranger.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1:8765",
        "0.0.0.0:8765",
        "[::]:8765",
        "localhost@evil",
        "",
        "[::1",
    ],
)
def test_a_name_that_is_not_of_this_machine_is_refused(stranger, host):
    refused(stranger.get("/health", headers={"Host": host, **BEARER}), 403, "foreign_host")


def test_two_host_headers_are_refused(stranger):
    sent = [("Host", "localhost"), ("Host", "evil.example")]
    refused(stranger.get("/health", headers=sent), 403, "foreign_host")


def test_a_public_server_answers_to_its_name_and_to_addresses(workspace, keys):
    public = TestClient(create_app(workspace, keys, host="gpu.example"), base_url=URL)
    for host in ("gpu.example:8765", "10.0.0.1:8765", "localhost", "[2001:db8::1]"):
        assert public.get("/health", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "0.0.0.0"):
        refused(public.get("/health", headers={"Host": host}), 403, "foreign_host")


@given(st.one_of(st.text(max_size=30), st.from_regex(r"[a-z0-9.\[\]:@ ]{0,30}", fullmatch=True)))
def test_a_host_is_taken_apart_without_a_crash_and_never_read_as_another(header):
    host = host_of(header)
    assert host is None or header.lower().lstrip("[").startswith(host)
    assert host is None or isinstance(is_loopback(host), bool)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": URL},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", **BEARER},
    ],
)
def test_another_page_cannot_change_anything(stranger, headers):
    for method, path in (("PUT", "/api/tables?name=a.csv"), ("DELETE", "/api/tables/x"), ("POST", "/api/jobs")):
        answer = stranger.request(method, path, headers={**COOKIE, **headers}, content=b"a\n1\n")
        refused(answer, 403, "foreign_origin")
    assert stranger.get("/api/tables", headers=BEARER).json() == {"tables": []}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", **COOKIE},
        {"Sec-Fetch-Site": "none", **COOKIE},
        {"Origin": URL, **COOKIE},
        BEARER,
        {"Origin": "http://evil.example", **BEARER},
    ],
)
def test_the_page_itself_and_programs_with_a_token_can(stranger, headers):
    refused(stranger.delete("/api/tables/x", headers=headers), 404, "not_found")


def test_there_is_no_cors(stranger):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT", **BEARER}
    answer = stranger.options("/api/tables", headers=asked)
    assert answer.status_code == 405
    answer = stranger.get("/api/tables", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_answer_tells_browsers_to_run_only_the_servers_scripts(stranger):
    for path, headers in (("/", COOKIE), ("/", {}), ("/api/session", COOKIE), ("/api/nothing", COOKIE)):
        answer = stranger.get(path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert stranger.get("/api/session", headers=COOKIE).headers["cache-control"] == "no-store"


def test_a_large_body_is_refused_by_its_header_and_while_it_streams(stranger):
    pieces = [b" " * 2**20] * 33
    refused(
        stranger.request("PATCH", "/api/tables/x/cells", headers=BEARER, content=b"".join(pieces)),
        413,
        "body_too_large",
    )
    answer = stranger.request("PATCH", "/api/tables/x/cells", headers=BEARER, content=iter(pieces))
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "more than 32 MB were sent. Send them in parts."
    for content in (b"".join(pieces), iter(pieces)):
        answer = stranger.post("/v1/completions", headers=BEARER, content=content)
        assert answer.status_code == 413
        assert answer.json()["error"] == {
            "message": "more than 32 MB were sent. Send them in parts.",
            "type": "invalid_request_error",
            "param": None,
            "code": "body_too_large",
        }


def test_the_keys_of_a_folder_stay_but_the_token_is_new(tmp_path):
    first, second = open_keys(tmp_path, None), open_keys(tmp_path, None)
    assert first.session == second.session
    assert first.token != second.token
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    chosen, other = open_keys(tmp_path, "longer than that"), open_keys(tmp_path, "another long one")
    assert len({first.session, chosen.session, other.session}) == 3
    assert chosen.token == "longer than that"


def test_a_secret_that_was_cut_off_is_made_anew(tmp_path):
    (tmp_path / "secret").write_bytes(b"short")
    assert open_keys(tmp_path, None).session == open_keys(tmp_path, None).session
    assert (tmp_path / "secret").stat().st_size == 32


@pytest.mark.parametrize("token", ["short", "", "中文中文中文中文", "with\nline end"])
def test_a_short_or_odd_token_is_refused(tmp_path, token):
    with pytest.raises(OutputError) as caught:
        open_keys(tmp_path, token)
    assert str(caught.value) == (
        "the token has less than 8 characters, or others than printable ASCII. Choose a longer one, such as the output "
        'of: python -c "import secrets; print(secrets.token_urlsafe())"'
    )
