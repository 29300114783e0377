import re
from collections import defaultdict
from pathlib import Path

import pytest

from papertune import load_recipe, read_table
from papertune.evaluation.systems.baselines import TfidfLogistic
from papertune.kinds.keywords.cells import split_keywords
from papertune.prompts.check_table import check_table
from papertune.prompts.examples import RowReader

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARED_WORDS = 8


@pytest.fixture(scope="module")
def papers():
    return read_table(EXAMPLES / "papers.csv")


@pytest.fixture(scope="module")
def new():
    return read_table(EXAMPLES / "papers_new.csv")


@pytest.fixture(scope="module")
def gold():
    return read_table(EXAMPLES / "papers_new_truth.csv")


@pytest.fixture(scope="module")
def recipe():
    return load_recipe(EXAMPLES / "demo.toml")


def words(text):
    return re.findall(r"[^\W_]+", text.lower())


def test_there_are_enough_papers(papers, new, gold):
    assert len(papers) >= 240
    assert len(new) >= 60
    assert new.column("uuid") == gold.column("uuid")
    ids = papers.column("uuid") + new.column("uuid")
    assert len(set(ids)) == len(ids)


def test_the_columns_are_those_of_the_tutorial(papers, new, gold):
    assert papers.columns == ["uuid", "title", "author", "abstract", "Keywords", "label", "sample_size"]
    assert not {"Keywords", "label", "sample_size"} & {name for name in new.columns if any(new.column(name))}
    assert {"uuid", "title", "author", "abstract"} <= set(new.columns)
    assert {"uuid", "Keywords", "label", "sample_size"} <= set(gold.columns)


def test_only_sample_sizes_may_be_empty(papers, new, gold):
    for table in (papers, gold):
        names = [name for name in table.columns if name != "sample_size"]
        assert all(all(cell.strip() for cell in table.column(name)) for name in names)
    assert all(all(cell.strip() for cell in new.column(name)) for name in ("uuid", "title", "author", "abstract"))


def test_half_of_the_papers_are_medical(papers, gold):
    for table in (papers, gold):
        labels = table.column("label")
        assert set(labels) == {"0", "1"}
        assert labels.count("1") / len(labels) == pytest.approx(0.5, abs=0.02)


def test_abstracts_have_the_length_of_abstracts(papers, new):
    for table in (papers, new):
        for row, abstract in enumerate(table.column("abstract")):
            assert 60 <= len(abstract.split()) <= 120, table.where(row)


def test_papers_share_no_title_and_no_passage(papers, new):
    titles = papers.column("title") + new.column("title")
    assert len({" ".join(words(title)) for title in titles}) == len(titles)
    places = defaultdict(set)
    for table in (papers, new):
        for row, abstract in enumerate(table.column("abstract")):
            text = words(abstract)
            for start in range(len(text) - SHARED_WORDS + 1):
                places[tuple(text[start : start + SHARED_WORDS])].add(table.where(row))
    assert {" ".join(run): sorted(rows) for run, rows in places.items() if len(rows) > 1} == {}


def test_keyword_cells_are_lists_in_standard_form(papers, gold):
    for table in (papers, gold):
        for cell in table.column("Keywords"):
            keywords = split_keywords(cell)
            assert 3 <= len(keywords) <= 10
            assert "; ".join(keywords) == cell


BELOW_20 = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def in_words(number):
    """Write a whole number below 1000 as English words."""
    below_20 = BELOW_20.split()
    if number < 20:
        return below_20[number]
    if number < 100:
        return TENS.split()[number // 10 - 2] + (f"-{below_20[number % 10]}" if number % 10 else "")
    return f"{below_20[number // 100]} hundred" + (f" and {in_words(number % 100)}" if number % 100 else "")


def test_every_sample_size_is_a_number_that_the_paper_states(papers, new, gold):
    """In digits or in words; about three of four papers state one."""
    for documents, table in ((papers, papers), (new, gold)):
        cells = table.column("sample_size")
        texts = zip(documents.column("title"), documents.column("abstract"), strict=True)
        for row, (cell, (title, abstract)) in enumerate(zip(cells, texts, strict=True)):
            if cell:
                number = int(cell)
                forms = {f"{number:,}", cell, f"{number / 1_000_000:g} million"}
                forms |= {in_words(number)} if number < 1000 else set()
                found = "|".join(map(re.escape, forms))
                assert re.search(rf"(?<![\w.,])({found})(?!\w|[.,]\d)", f"{title}. {abstract}", re.I), table.where(row)
        assert 0.6 <= sum(map(bool, cells)) / len(cells) <= 0.8


def test_the_sample_size_recipe_fits_the_papers(papers, gold):
    recipe = load_recipe(EXAMPLES / "sample-size.toml")
    findings = check_table(papers, recipe)
    assert (findings.problems, findings.warnings) == ([], [])
    assert findings.facts == ["sample_size: 186 numbers, 62 not stated"]
    column = recipe.columns["sample_size"]
    assert all(column.read_answer(cell) == (cell or "not stated") for cell in gold.column("sample_size"))


def test_the_demo_recipe_fits_the_papers(papers, new, recipe):
    for table, purpose in ((papers, "train"), (new, "predict")):
        findings = check_table(table, recipe, purpose)
        assert (findings.problems, findings.warnings) == ([], [])


def test_the_label_can_be_learned_but_not_too_easily(papers, new, gold, recipe):
    train, test = RowReader(papers, recipe), RowReader(new, recipe)
    documents = [train.document(row) for row in range(len(papers))]
    model = TfidfLogistic(documents, papers.column("label"), ["1", "0"])
    predicted, _ = model.predict([test.document(row) for row in range(len(new))])
    right = sum(one == other for one, other in zip(predicted, gold.column("label"), strict=True))
    assert 0.75 <= right / len(new) <= 0.97


def test_the_recipe_of_all_stages_fits_and_no_cell_has_a_line_break(papers, new):
    stages = load_recipe(EXAMPLES / "stages.toml")
    assert check_table(papers, stages, "train").problems == check_table(new, stages, "predict").problems == []
    # examples/stages.sh takes papers by their lines.
    assert not any("\n" in cell for name in papers.columns for cell in papers.column(name))
