"""The examples of docs/serve.md, executed against a server: its run is called papers there."""

import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "serve.md"
SECTIONS = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)


def blocks(title, language):
    (section,) = (each for each in SECTIONS if each.startswith(f"{title}\n"))
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def at(server, code):
    return code.replace("http://127.0.0.1:8765", server.url).replace('"papers', '"all')


def test_the_programs_run(server, monkeypatch, capsys):
    monkeypatch.setenv("PAPERTUNE_TOKEN", "a-token-for-tests")
    names = {}
    column, chat, texts = blocks("OpenAI's API", "py")
    exec(at(server, column), names)
    label, *logprobs = capsys.readouterr().out.splitlines()
    assert label in ("", "yes", "no", "maybe")
    assert {line.split()[0] for line in logprobs} == {"yes", "no", "maybe"}
    exec(at(server, chat), names)
    assert "CompletionUsage(completion_tokens=" in capsys.readouterr().out
    exec(at(server, texts), names)
    assert len(json.loads(capsys.readouterr().out.replace("'", '"'))) == 2
    names["client"].close()


def test_curl_gets_what_the_page_shows(server):
    (command,) = blocks("Fill in rows", "sh")
    words = shlex.split(at(server, command.replace("\\\n", " ")))
    url = next(word for word in words if word.startswith("http"))
    body = words[words.index("-d") + 1]
    answer = server.client.post(url, content=body, headers={"Content-Type": "application/json"}).json()
    (shown,) = (json.loads(block) for block in blocks("Fill in rows", "json"))
    assert answer.keys() == shown.keys()
    (row,), (shown_row,) = answer["rows"], shown["rows"]
    assert row.keys() == shown_row.keys()
    assert {name: list(row[name]) for name in row} == {name: list(shown_row[name]) for name in row}
    for name in ("Keywords", "answer", "year"):
        assert type(row["confidences"][name]) is type(shown_row["confidences"][name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WAITING", "64 requests wait"),
        ("TIMEOUT_S", "5 minutes"),
        ("WINDOW_S", "20 ms"),
        ("MAX_TEXTS", "four texts"),
    ],
)
def test_the_limits_are_those_of_the_code(name, value):
    from papertune.serve.answering import worker

    written = {"MAX_WAITING": 64, "TIMEOUT_S": 300.0, "WINDOW_S": 0.02, "MAX_TEXTS": 4}
    assert getattr(worker, name) == written[name]
    assert value in PAGE.read_text("utf-8")
