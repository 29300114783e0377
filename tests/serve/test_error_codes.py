"""Each error of the server has a code and params, of which a page makes sentences in other languages."""

import ast
import json
import re
from pathlib import Path

import pytest

import papertune.serve
from papertune.serve.errors import ServeError, error_body

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
# They hold what OpenAI's clients expect, without params.
OPENAI = {"unsupported_value", "unsupported_parameter", "model_not_found", "invalid_row", "invalid_value"}


def raised():
    """Return the params of each code in the source of the server, one entry for each place."""
    found = []
    for path in Path(papertune.serve.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ServeError":
                params = {each.arg for each in call.keywords if each.arg not in ("where", "headers", None)}
                code = call.args[1]
                codes = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
                found += [(each.value, params) for each in codes if isinstance(each, ast.Constant)]
    return found


def documented():
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \|([^|]*)\|", PAGE.read_text("utf-8").partition("\n### Errors\n")[2], re.MULTILINE
    )
    return {code: set(re.findall(r"`(\w+)`", params)) for code, _, params in rows}


def test_the_page_lists_each_code_with_its_params():
    known = documented()
    found = [(code, params) for code, params in raised() if code not in OPENAI]
    assert len(found) > 30
    for code, params in found:
        assert code in known, code
        assert params == known[code], code
    assert known.keys() - {code for code, _ in found} == {"invalid_request"}


def test_each_code_has_a_sentence_in_chinese_of_what_it_has_and_no_sentence_is_left_over():
    words = Path(papertune.serve.__file__).parent / "page" / "words" / "errors.zh.js"
    sentences = json.loads(words.read_text("utf-8").removeprefix("export default ").rstrip().removesuffix(";"))
    known = documented() | {code: {"where"} for code in OPENAI} | {"method_not_allowed": set()}
    assert {code.partition(".")[0] for code in sentences} == set(known)
    assert set(known) - set(sentences) == set()
    limits = {"min_length", "max_length", "gt", "ge", "lt", "le"}
    for code, sentence in sentences.items():
        plain, _, problem = code.partition(".")
        params = known[plain] | {"message"} | (limits if plain == "invalid_request" and problem else set())
        assert set(re.findall(r"\{(\w+)\}", sentence)) <= params, code


@pytest.mark.parametrize(("given", "shown"), [("\ud800", "\\ud800"), ("x" * 400, "x" * 300), (3, 3), ("名", "名")])
def test_params_can_be_sent_whatever_a_request_has_named(given, shown):
    error = ServeError(404, "not_found", "no", name=given)
    assert error_body(error.code, error.message, error.where, error.params) == {
        "error": {"message": "no", "code": "not_found", "params": {"name": shown}}
    }
