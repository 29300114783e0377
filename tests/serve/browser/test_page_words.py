"""The page's dictionaries, read as text: no browser is needed."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from papertune.serve.recipes.schema import recipe_schema

PAGE = Path(__file__).parents[3] / "src" / "papertune" / "serve" / "page"
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
