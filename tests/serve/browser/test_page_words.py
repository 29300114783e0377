"""The page's dictionaries, read as text: no browser is needed."""

import ast
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from papertune.serve.recipes.schema import recipe_schema

SERVE = Path(__file__).parents[3] / "src" / "papertune" / "serve"
PAGE = SERVE / "page"
SOURCES = [path for path in sorted(PAGE.rglob("*.js")) if path.parent.name not in ("vendor", "words")]
# Keys whose end is a value: t(`kind.${kind}`).
OPEN_KEY = re.compile(r"`([a-z]\w*\.[\w.-]*)\$\{")
QUOTED = re.compile(r"\"([a-z]\w*(?:\.[\w-]+)+)\"")


def words(name: str) -> dict[str, str]:
    text = (PAGE / "words" / name).read_text("utf-8")
    return json.loads(text.removeprefix("export default ").rstrip().removesuffix(";"))


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)", text))


@pytest.mark.parametrize(("english", "chinese"), [("en.js", "zh.js"), ("screen.en.js", "screen.zh.js")])
def test_both_languages_have_the_same_words_with_the_same_places(english, chinese):
    in_english, in_chinese = words(english), words(chinese)
    assert list(in_english) == list(in_chinese)
    assert [key for key in in_english if places(in_english[key]) != places(in_chinese[key])] == []
    assert [key for key, text in (in_english | in_chinese).items() if not text.strip()] == []


def test_every_word_that_a_page_uses_is_in_the_dictionary_and_every_word_there_is_used():
    known = {**words("en.js"), **words("screen.en.js")}
    text = "".join(path.read_text("utf-8") for path in SOURCES)
    used = {key for key in QUOTED.findall(text) if key.split(".")[0] in {each.split(".")[0] for each in known}}
    beginnings = tuple(OPEN_KEY.findall(text))
    files = {key for key in used if key.endswith((".js", ".svg"))}
    assert used - files - set(known) == set()
    assert [key for key in known if key not in used and not key.startswith(beginnings)] == []


def test_every_setting_of_a_recipe_is_explained_in_chinese():
    schema = recipe_schema()
    parts = [part for name, part in schema["$defs"].items() if not name.endswith("Stage")]
    names = {name for part in (schema, *parts) for name in part.get("properties", {})}
    assert set(words("settings.zh.js")) == names


# Where the code of an error stands in the calls that make one.
CODE_PLACES = {"ServeError": 1, "_answer": 1, "refusal": 2}


def error_codes() -> Iterator[tuple[str, str | None]]:
    """Yield the file and the code of each error in the source of the server; None: it is a variable."""
    for path in SERVE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            given: list[ast.expr] = []
            if isinstance(node, ast.arguments):
                names = [argument.arg for argument in node.kwonlyargs]
                given = [value for name, value in zip(names, node.kw_defaults, strict=True) if name == "code" and value]
            elif isinstance(node, ast.Call):
                place = CODE_PLACES.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
                given = [] if place is None else [node.args[place]]
                given += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            for value in given:
                is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
                yield path.name, value.value if is_text else None


def test_every_error_of_the_server_has_a_sentence_in_chinese_and_no_sentence_is_without_an_error():
    found = list(error_codes())
    codes = {code for _, code in found if code is not None}
    # Those of Starlette are the phrase of their status; that of 413 depends on Python's version.
    statuses = {HTTPStatus(status).phrase.lower().replace(" ", "_") for status in (404, 405, 413)}
    assert set(words("errors.zh.js")) == codes | statuses | {"request_entity_too_large", "content_too_large"}
    # The three that pass on what they were given: an error, a status, a request that does not fit.
    assert {file for file, code in found if code is None} == {"errors.py"}


def test_every_class_of_a_page_has_a_style_and_every_style_a_page():
    styles = "".join(path.read_text("utf-8") for path in PAGE.glob("styles/*.css"))
    selectors = "".join(re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", styles, flags=re.DOTALL)))
    styled = set(re.findall(r"\.([a-z][a-z-]*)", selectors))
    code = "".join(path.read_text("utf-8") for path in SOURCES if path.parent.name != "docs")
    named = set(" ".join(re.findall(r'\bclass(?:Name)?="([^"$]*)"', code)).split())
    assert named - styled == set()
    assert [each for each in sorted(styled) if not re.search(rf"(?<![\w-]){each}(?![\w-])", code)] == []


def test_no_page_uses_html_as_text_or_styles_in_attributes():
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\bstyle=")
    assert [path.name for path in SOURCES if forbidden.search(path.read_text("utf-8"))] == []


def test_the_page_loads_nothing_from_elsewhere():
    files = [path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg")]
    address = re.compile(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", re.IGNORECASE)
    allowed = {"http://www.w3.org", "//www.w3.org"}
    found = {(path.name, each) for path in files for each in address.findall(path.read_text("utf-8"))}
    assert {each for each in found if each[1] not in allowed} == set()
