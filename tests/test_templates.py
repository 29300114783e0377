import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.templates import escaped, parse_template, placeholder, render_template, template_columns

names = st.text(st.characters(codec="utf-8"), min_size=1) | st.text('{}" \\\na', min_size=1)
pieces = st.lists(st.tuples(names, st.just(True)) | st.tuples(st.text(), st.just(False)), max_size=6)


def write(parts: list[tuple[str, bool]]) -> str:
    """Return a template with these columns (True) and texts (False)."""
    return "".join(placeholder(text) if is_column else escaped(text) for text, is_column in parts)


@given(pieces)
def test_templates_are_parsed_and_rendered(parts):
    template = write(parts)
    columns = [text for text, is_column in parts if is_column]
    assert template_columns(template) == list(dict.fromkeys(columns))
    row = {name: f"<{name}>{{x}}" for name in columns}  # braces in cells stay as they are
    assert render_template(template, row) == "".join(row[text] if is_column else text for text, is_column in parts)


def parts_or_error(template: str) -> list[tuple[str, bool]] | str:
    """Return the parts of a template, or the message of its error."""
    try:
        return [(part.text, part.is_column) for part in parse_template(template)]
    except ValueError as error:
        return str(error)


@given(st.text('{}ab .[]!:"\\'))
def test_any_text_is_a_template_or_a_known_error(template):
    parts = parts_or_error(template)
    if isinstance(parts, str):
        assert re.match(
            r'has (a lone "[{}]" at character \d+; |\{\} without a column name$|\{".*\}, whose backsl)', parts
        )
    else:
        # Written again, the parts are the same template, except for blanks around names.
        assert parts_or_error(write(parts)) == parts


@pytest.mark.parametrize("name", ["title.__class__", "a[0]", "a!r", "a:>10", "0", "a b", "题目"])
def test_names_are_never_evaluated(name):
    template = f"x {{{name}}} y"
    assert template_columns(template) == [name]
    assert render_template(template, {name: "cell"}) == "x cell y"
    with pytest.raises(KeyError):
        render_template(template, {"title": "t", "a": "abc"})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("ab{", 'has a lone "{" at character 3; write "{{" for a brace'),
        ("{title}}", 'has a lone "}" at character 8; write "}}" for a brace'),
        ("{a{b}", 'has a lone "{" at character 1; write "{{" for a brace'),
        ("{ }", "has {} without a column name"),
    ],
)
def test_lone_braces_are_refused(template, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_template(template)


def test_double_braces_are_braces():
    assert render_template("{{{title}}} {{title}}", {"title": "t"}) == "{t} {title}"


def test_names_with_braces_or_blanks_around_them_stand_in_quotes():
    assert placeholder("title") == "{title}"
    assert placeholder("Title {EN}") == '{"Title {EN}"}'
    assert placeholder(" title") == '{" title"}'
    template = '{ "Title {EN}" }: {"say \\"a\\" \\u4e2d"}'
    assert template_columns(template) == ["Title {EN}", 'say "a" 中']
    assert render_template(template, {"Title {EN}": "t", 'say "a" 中': "x"}) == "t: x"
    with pytest.raises(ValueError, match="whose backslashes are not those of JSON; write two for one"):
        parse_template(r'{"a\b\c"}')
    with pytest.raises(ValueError, match=r"has \{\} without a column name"):
        parse_template('{""}')


@given(st.text(st.characters(codec="utf-8", exclude_characters='{}"'), min_size=1).map(str.strip).filter(bool))
def test_plain_names_need_no_quotes(name):
    assert placeholder(name) == f"{{{name}}}"
    assert template_columns(f"{{{name}}}") == template_columns(f"{{{json.dumps(name)}}}") == [name]
