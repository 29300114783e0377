"""The Modelfile as Ollama reads it: its parser's rules, and those of Go's templates as far as a Modelfile uses them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.exports.formats.ollama import _go_text


def read_value(written):
    """Return the value between three quotes as Ollama's parser does, which drops what is not printable."""
    read = ""
    for letter in written:
        if letter in " \t\r\n" and read.strip().endswith('"""') and len(read.strip()) >= 6:
            break
        read += letter if letter.isprintable() or letter in "\n\r\t" else ""
    read = read.strip()
    assert read.startswith('"""')
    assert read.endswith('"""')
    return read[3:-3]


def execute(template, prompt):
    """Return what Go's text/template writes: text, and actions with a string or the prompt."""
    written = ""
    while "{{" in template:
        text, _, rest = template.partition("{{")
        action, _, template = rest.partition("}}")
        written += text
        if action == " .Prompt ":
            written += prompt
        else:
            quoted = re.fullmatch(r' "((?:\\"|\\U[0-9a-f]{8})+)" ', action)[1]
            written += quoted.replace('\\"', '"') if '\\"' in quoted else chr(int(quoted[2:], 16))
    return written + template


@given(before=st.text('{}"\\ -./a\n\t\u00a0\u3000中%', max_size=12), after=st.text('{}"\\ -./a\n\u200b', max_size=12))
def test_what_stands_around_a_prompt_is_written_as_it_is(before, after):
    template = read_value(f'"""{_go_text(before)}{{{{ .Prompt }}}}{_go_text(after)}"""\n')
    assert execute(template, "PROMPT") == f"{before}PROMPT{after}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<|im_start|>user\n", "<|im_start|>user\n"),
        ('say "hello"', 'say "hello"'),
        ("a {", 'a {{ "\\U0000007b" }}'),
        ('"""', '{{ "\\"\\"\\"" }}'),
        ("全\u3000角", '全{{ "\\U00003000" }}角'),
    ],
)
def test_only_what_has_a_meaning_of_its_own_is_quoted(text, written):
    assert _go_text(text) == written
