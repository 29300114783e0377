"""What commands say with a code: every sentence of it has one in Chinese, made of values that are there."""

import ast
import json
import pickle
import re
from functools import cache
from pathlib import Path

import pytest

import papertune
import papertune.serve
from papertune.errors import MissingExtraError, PapertuneError, Sentence, TableError, coded, reworded, said_as
from papertune.serve.recipes.tasks import check

SOURCE = Path(papertune.__file__).parent
WORDS = SOURCE / "serve" / "page" / "words" / "messages.zh.js"
# What `Findings` adds to a sentence that is neither raised nor listed as it is: the first row and its column, and the
# number of cells.
ADDED = {"number", "column", "count"}


@cache
def said():
    """Return the values of each code in the source, one entry for each place."""
    found = []
    texts = [text for path in SOURCE.rglob("*.py") if "Sentence(" in (text := path.read_text("utf-8"))]
    for text in texts:
        nodes = list(ast.walk(ast.parse(text)))
        whole = [sentence for node in nodes for sentence in said_as_it_is(node)]
        for call in nodes:
            match call:
                case ast.Call(ast.Name("Sentence"), [_, ast.Constant(code)], values):
                    found.append((code, {each.arg for each in values} | (set() if call in whole else ADDED)))
    return found


def said_as_it_is(node):
    match node:
        case ast.Raise(ast.Call(_, [ast.Call() as sentence])) | ast.Call(
            ast.Attribute(_, "append"), [ast.Call() as sentence]
        ):
            return [sentence]
    return []


def classes(kind=PapertuneError):
    return {kind, *(each for child in kind.__subclasses__() for each in classes(child))}


def in_chinese():
    return json.loads(WORDS.read_text("utf-8").removeprefix("export default ").rstrip().removesuffix(";"))


def test_each_code_has_a_sentence_in_chinese_and_no_sentence_is_left_over():
    own = {each.code for each in classes() if each.__module__ == "papertune.errors"}
    of_jobs = {"disk_full", "out_of_memory", "fault"}
    assert len(said()) > 50
    assert {code for code, _ in said()} | own | of_jobs == set(in_chinese())


def test_each_sentence_has_values_that_are_there_wherever_it_is_said():
    sentences = in_chinese()
    lacking = [
        (code, places - params)
        for code, params in said()
        if (places := set(re.findall(r"\{(\w+)", sentences[code]))) - params
    ]
    assert lacking == []


def test_a_change_of_a_text_is_made_to_its_values_too():
    text = Sentence("a/b.csv has no rows.", "no_rows", table="a/b.csv", count=1)
    changed = reworded(TableError(text), lambda each: each.replace("a/", ""))
    assert (changed, coded(changed)) == ("b.csv has no rows.", ("no_rows", {"table": "b.csv", "count": 1}))


def test_a_sentence_is_its_text_and_keeps_its_code_between_processes():
    text = Sentence("papers.csv has no rows.", "no_rows", table="papers.csv")
    again = pickle.loads(pickle.dumps(TableError(text)))
    assert (text, str(again)) == ("papers.csv has no rows.", "papers.csv has no rows.")
    assert coded(again) == coded(text) == coded(said_as("other", text)) == ("no_rows", {"table": "papers.csv"})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("plain", ("", {})),
        (ValueError("plain"), ("", {})),
        (MissingExtraError("no ray"), ("not_installed", {})),
        (TableError.collect("it does not fit", ["one", "two"]), ("several_problems", {"count": 2})),
        (TableError.collect("it does not fit", [Sentence("one", "empty_id")]), ("empty_id", {})),
    ],
)  # fmt: skip
def test_what_has_no_code_of_its_own_has_that_of_its_class(text, code):
    assert coded(text) == code


def test_findings_have_codes_and_the_values_in_them(tiny_folder, tmp_path):
    table = tmp_path / "stored.csv"
    table.write_text("title,label\nA,yes\nB,maybe\n,no\nC,maybe\n")
    recipe = {
        "model": str(tiny_folder),
        "table": {"document": "{title}"},
        "columns": {"label": {"kind": "label", "question": "?", "labels": ["yes", "no"], "sources": ["model"]}},
    }
    found = check(str(table), "papers.csv", recipe, "train")["findings"]
    by_code = {each.get("code"): each for each in found}
    assert by_code["unknown_label"] | {"message": ""} == {
        "level": "error",
        "message": "",
        "row": 1,
        "column": "label",
        "code": "unknown_label",
        "params": {"number": 2, "column": "label", "value": "maybe", "labels": "yes, no", "count": 2},
    }
    assert by_code["empty_document_cells"]["params"] == {"number": 3, "column": "title", "count": 1}
    found += check(str(table), "papers.csv", recipe | {"model": str(tmp_path / "none")}, "predict")["findings"]
    assert "no_model" in {each["code"] for each in found}
    assert all("code" in each for each in found)
