"""Preferences from tables: corrected cells, judged cells, synthetic pairs."""

import contextlib
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune import OutputError, RecipeError, TableError, prefer, read_table
from papertune.preferences import read_pairs, read_thumbs
from papertune.recipe import load_recipe

pytestmark = pytest.mark.once

RECIPE = load_recipe(
    {
        "model": "tiny",
        "table": {"id": "id", "document": "{title}"},
        "columns": {
            "label": {"kind": "label", "question": "Is it medical?", "labels": ["1", "0"]},
            "Keywords": {"kind": "keywords", "question": "Which keywords?"},
            "one": {"kind": "ranked_keywords", "question": "Which keyword?"},
            "finding": {"kind": "text", "question": "What was found?", "pattern": "[a-z ]+"},
            "funding": {"kind": "text", "question": "Who paid?", "empty": "not stated"},
            "patients": {"kind": "number", "question": "How many?", "integer": True, "minimum": 0},
        },
    }
)
PAPERS = [{"id": f"0{n}", "title": f"paper {n}"} for n in range(6)]
FILLED = [
    {"id": "00", "Keywords": "a; b", "one": "a; b", "finding": "it fell", "funding": "X 12"},
    {"id": "01", "Keywords": "c", "one": "", "finding": "", "funding": ""},
]
GOLD = [{**paper, "Keywords": f"k{n}; l{n}; m{n}; n{n}"} for n, paper in enumerate(PAPERS)]


def corrected(*changes):
    """Return the filled table with changes in its rows."""
    return [{**row, **change} for row, change in zip(FILLED, [*changes, {}, {}], strict=False)]


def collect(new, **options):
    return prefer(FILLED, RECIPE, corrected=new, documents=PAPERS, **options)


def preferred(new, **options):
    return [(pair.paper, pair.column, pair.chosen, pair.rejected) for pair in collect(new, **options).pairs]


def refusal(*arguments, error=TableError, **options):
    with pytest.raises(error) as caught:
        prefer(*arguments, **options)
    return str(caught.value)


class TestCorrections:
    def test_each_changed_cell_is_a_pair(self):
        new = corrected({"Keywords": "a; d", "finding": "it rose", "funding": "Y"}, {"Keywords": "d", "funding": "Z"})
        assert preferred(new) == [
            ("00", "Keywords", "a; d", "a; b"),
            ("01", "Keywords", "d", "c"),
            ("00", "finding", "it rose", "it fell"),
            ("00", "funding", "Y", "X 12"),
            ("01", "funding", "Z", "not stated"),
        ]

    def test_a_pair_has_the_question_and_the_document(self):
        (pair,) = collect(corrected({"Keywords": "d"})).pairs
        assert (pair.instruction, pair.input, pair.source, pair.tier) == ("Which keywords?", "paper 0", "human", "")

    def test_what_means_the_same_is_no_change(self):
        new = corrected({"Keywords": "B;a", "one": "b; A", "finding": " it  fell", "funding": "X  12"})
        found = collect(new)
        assert found.pairs == []
        assert found.lines == [
            "Keywords: 2 cells compared, 0 changed, 2 unchanged",
            "one: 2 cells compared, 0 changed, 2 unchanged",
            "finding: 2 cells compared, 0 changed, 2 unchanged",
            "funding: 2 cells compared, 0 changed, 2 unchanged",
        ]

    def test_an_emptied_cell_is_a_pair_where_not_stated_is_an_answer(self):
        found = collect(corrected({"Keywords": "", "finding": "", "funding": ""}))
        assert [(pair.column, pair.chosen, pair.rejected) for pair in found.pairs] == [
            ("funding", "not stated", "X 12")
        ]
        assert found.lines[0] == "Keywords: 2 cells compared, 0 changed, 1 unchanged, 1 emptied (nothing to prefer)"

    def test_an_empty_prediction_rejects_nothing(self):
        found = collect(corrected({}, {"finding": "it rose"}))
        assert found.pairs == []
        assert found.lines[2] == (
            "finding: 2 cells compared, 0 changed, 1 unchanged, 1 filled in where nothing was predicted (nothing to "
            "reject)"
        )

    def test_confidences_beside_the_cells_are_not_read(self):
        new = [{**row, "finding_confidence": "0,9"} for row in corrected({"finding": "it rose"})]
        assert preferred(new) == [("00", "finding", "it rose", "it fell")]

    def test_questions_of_the_rows_themselves(self, tmp_path):
        columns = {"answer": {"kind": "text", "question": "{asks}"}}
        recipe = load_recipe({"model": "tiny", "table": {"id": "id", "document": "{title}"}, "columns": columns})
        old = [{"id": "1", "title": "t", "asks": "Why?", "answer": "a"}]
        found = prefer(old, recipe, tmp_path / "p.jsonl", corrected=[{**old[0], "answer": "b"}])
        assert [(pair.instruction, pair.input) for pair in found.pairs] == [("Why?", "t")]
        assert read_pairs(str(tmp_path / "p.jsonl"), recipe) == found.pairs

    def test_ranked_keywords_are_preferred_one_by_one(self):
        found = collect(corrected({"one": "b; c; d"}, {"one": "x"}))
        assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [("c", "a")]
        found = collect(corrected({"one": "a; b; c; d"}))
        assert found.pairs == []
        assert found.lines[1] == (
            "one: 2 cells compared, 0 changed, 1 unchanged, 1 with keywords added only (nothing to reject)"
        )

    @settings(max_examples=15)
    @given(st.permutations(range(6)), st.permutations(range(6)), st.sets(st.sampled_from(range(6)), min_size=1))
    def test_rows_are_matched_by_their_ids_in_any_order(self, first, second, changed):
        old = [{**PAPERS[n], "Keywords": f"k{n}"} for n in first]
        new = [{**PAPERS[n], "Keywords": f"k{n + 10 * (n in changed)}"} for n in second]
        found = prefer(old, RECIPE, corrected=new, only=["Keywords"])
        expected = [(f"0{n}", f"paper {n}", f"k{n + 10}", f"k{n}") for n in first if n in changed]
        assert [(pair.paper, pair.input, pair.chosen, pair.rejected) for pair in found.pairs] == expected

    @settings(max_examples=40)
    @given(st.data())
    def test_any_cells_are_compared_or_refused(self, data):
        cell = st.text("ab;,.- 1\n函", max_size=5)
        row = st.fixed_dictionaries({name: cell for name in ("Keywords", "one", "finding", "funding")})
        names = sorted(data.draw(st.sets(st.sampled_from(["Keywords", "one", "finding", "funding"]), min_size=1)))
        old, new = ([{"id": f"0{n}", **data.draw(row)} for n in range(2)] for _ in range(2))
        with contextlib.suppress(TableError):
            found = prefer(old, RECIPE, corrected=new, documents=PAPERS, only=names)
            assert all(pair.chosen.split() != pair.rejected.split() for pair in found.pairs)
            assert sum(" 2 cells compared" in line for line in found.lines) == len(names)
            # Nobody has corrected anything if both tables are the same.
            assert prefer(old, RECIPE, corrected=old, documents=PAPERS, only=names).pairs == []

    def test_without_ids_rows_are_matched_by_their_numbers(self):
        recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"id": None})})
        old = [{"row": "2", "Keywords": "a"}, {"row": "1", "Keywords": "b"}]
        new = [{"row": "1", "Keywords": "b"}, {"row": "2", "Keywords": "c"}]
        (pair,) = prefer(old, recipe, corrected=new, documents=PAPERS, only=["Keywords"]).pairs
        assert (pair.paper, pair.input) == ("2", "paper 1")

    def test_entries_of_an_instruction_file_are_matched_by_what_they_ask(self):
        old = [{"instruction": f"q{n}", "input": "", "output": "a", "system": "S"} for n in range(3)]
        new = [{**entry, "output": "b" if entry["instruction"] == "q1" else "a"} for entry in old[::-1]]
        (pair,) = prefer(old, "instruct", corrected=new).pairs
        assert (pair.instruction, pair.system, pair.chosen, pair.rejected) == ("q1", "S", "b", "a")

    def test_rows_of_only_one_table_are_reported(self):
        new = [{"id": "00", "Keywords": "d"}, {"id": "7", "Keywords": "e"}]
        found = collect(new, only=["Keywords"])
        assert len(found.pairs) == 1
        assert found.lines == [
            "list of rows, row 2: 1 row is not in list of rows; left out",
            "list of rows, row 2: 1 row is not in list of rows; left out",
            "Keywords: 1 cell compared, 1 changed",
        ]


class TestJudgements:
    def test_each_judged_cell_is_a_thumb(self):
        new = corrected({"Keywords_good": " Yes", "one_good": "0"}, {"Keywords_good": "", "funding_good": "false"})
        found = collect(new)
        assert [(thumb.paper, thumb.column, thumb.answer, thumb.good) for thumb in found.thumbs] == [
            ("00", "Keywords", "a; b", True),
            ("00", "one", "a", False),
            ("00", "one", "b", False),
            ("01", "funding", "not stated", False),
        ]
        assert "Keywords_good: 1 good, 0 bad" in found.lines

    def test_one_table_is_enough(self, tmp_path):
        judged = [{**row, "Keywords_good": "1.0"} for row in FILLED]
        prefer(judged, RECIPE, documents=PAPERS, thumbs=tmp_path / "t.jsonl", only=["Keywords"])
        first = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
        assert first["kto_tag"] is True
        thumbs = read_thumbs(str(tmp_path / "t.jsonl"), RECIPE)
        assert [(thumb.answer, thumb.good, thumb.source) for thumb in thumbs] == [
            ("a; b", True, "human"),
            ("c", True, "human"),
        ]

    def test_what_was_predicted_is_judged_and_not_the_correction(self):
        (thumb,) = collect(corrected({"Keywords": "d", "Keywords_good": "no"})).thumbs
        assert (thumb.answer, thumb.good) == ("a; b", False)

    def test_a_judgement_of_an_empty_cell_is_reported(self):
        found = collect(corrected({}, {"finding_good": "no"}))
        assert found.thumbs == []
        assert "finding_good: 0 good, 0 bad, 1 of empty cells, which have no answer" in found.lines

    def test_mistakes_are_in_one_message(self):
        new = corrected({"Keywords": "d", "Keywords_good": "yes"}, {"Keywords_good": "so so"})
        assert refusal(FILLED, RECIPE, corrected=new, documents=PAPERS) == "\n".join(
            [
                "list of rows: judgements cannot be read (2 problems):",
                '  - list of rows, row 1, column "Keywords_good": the cell was corrected and is called good, but what '
                "was predicted is judged. Write no, or leave the cell empty.",
                '  - list of rows, row 2, column "Keywords_good": "so so" is no judgement. Write yes, no, 1, 0, true '
                "or false, or leave the cell empty.",
            ]
        )


class TestSyntheticPairs:
    def test_each_tier_of_each_paper_is_a_pair_that_says_synthetic(self):
        found = prefer(GOLD, RECIPE, synthesise=True, only=["Keywords"])
        assert [(pair.paper, pair.tier) for pair in found.pairs] == [
            (paper["id"], tier)
            for paper in PAPERS
            for tier in ("other-paper", "half-swapped", "one-swapped", "repeated", "cut-short")
        ]
        assert {pair.source for pair in found.pairs} == {"synthetic"}
        assert found.lines == [
            "Keywords: 30 synthetic pairs of 6 gold cells (other-paper 6, half-swapped 6, one-swapped 6, repeated 6, "
            "cut-short 6)"
        ]

    def test_the_seed_chooses_what_is_changed(self):
        one, again, other = (
            prefer(GOLD, RECIPE, synthesise=True, only=["Keywords"], overrides=[f"training.seed={seed}"]).pairs
            for seed in (0, 0, 1)
        )
        assert one == again != other

    def test_rejected_keywords_come_from_other_papers(self):
        for pair in prefer(GOLD, RECIPE, synthesise=True, only=["Keywords"]).pairs:
            if pair.tier == "other-paper":
                number = pair.rejected[1]
                assert pair.rejected == f"k{number}; l{number}; m{number}; n{number}" != pair.chosen

    def test_the_words_of_the_template_are_not_of_the_paper(self):
        document = "title: {title}\nabstract: {text}"
        recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"document": document})})
        rows = [{"id": "1", "title": "the slow method", "text": "of learning", "Keywords": "k"}]
        pairs = [
            prefer(rows, recipe, synthesise=True, only=["Keywords"], overrides=[f"training.seed={seed}"]).pairs[0]
            for seed in range(20)
        ]
        assert {pair.rejected for pair in pairs if pair.tier == "from-text"} == {"slow", "method", "learning"}

    def test_copies_of_a_paper_are_no_other_papers(self):
        copies = [{"id": "a", "title": "t", "Keywords": "x"}, {"id": "b", "title": "t", "Keywords": "y"}]
        with pytest.warns(match="same as in another row"):
            found = prefer(copies, RECIPE, synthesise=True, only=["Keywords"])
        assert found.pairs == []
        assert found.lines == ["Keywords: 0 synthetic pairs of 2 gold cells"]

    def test_they_stand_behind_the_pairs_of_a_person(self):
        new = corrected({"Keywords": "d"})
        found = collect(new, synthesise=True, only=["Keywords"])
        assert [pair.source for pair in found.pairs] == ["human"] + 4 * ["synthetic"]

    def test_a_large_table_costs_no_more_for_each_paper(self):
        many = [{"id": str(n), "title": f"p{n}", "Keywords": f"k{n}; l{n}"} for n in range(40)]
        found = prefer(many, RECIPE, synthesise=True, only=["Keywords"])
        assert len(found.pairs) == 5 * 40


class TestFiles:
    def test_what_was_written_is_read_again(self, tmp_path):
        found = prefer(GOLD, RECIPE, tmp_path / "pairs.jsonl", synthesise=True, only=["Keywords"])
        assert read_pairs(str(tmp_path / "pairs.jsonl"), RECIPE) == found.pairs
        lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
        assert all(json.loads(line)["source"] == "synthetic" for line in lines)

    def test_judgements_that_are_not_written_are_reported(self, tmp_path):
        found = collect(corrected({"Keywords": "d", "one_good": "no"}), output=tmp_path / "pairs.json")
        assert found.lines[-1] == "judged answers that are not written: 2; add --thumbs FILE"

    def test_an_existing_file_is_refused_before_any_work(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        path.write_text("mine")
        assert refusal("none.csv", RECIPE, path, error=OutputError) == (
            f"{path} exists already. Add --overwrite to replace it, or choose another name."
        )
        collect(corrected({"Keywords": "d"}), output=path, overwrite=True)
        assert len(read_pairs(str(path), RECIPE)) == 1

    def test_pairs_and_judgements_need_two_files(self, tmp_path):
        path = tmp_path / "p.jsonl"
        assert refusal(FILLED, RECIPE, path, thumbs=path, error=OutputError) == (
            f"{path}: pairs and judged answers cannot be in one file. Name another for --thumbs."
        )


class TestMistakes:
    def test_label_columns_have_no_preferences(self):
        rows = [{"id": "00", "label": "1", "Keywords": "a", "title": "t"}]
        assert refusal(rows, RECIPE, corrected=rows, only=["label"], error=RecipeError) == (
            "label: cross-entropy over the label set is exact; there is nothing to prefer. Correct the cells in the "
            "table, and train on it again."
        )
        changed = [{**rows[0], "Keywords": "b"}]
        assert prefer(rows, RECIPE, corrected=changed, only=["label", "Keywords"]).lines == [
            "label: 1 cell left out, since cross-entropy over the label set is exact; there is nothing to prefer",
            "Keywords: 1 cell compared, 1 changed",
        ]

    def test_changed_cells_that_are_no_answers_are_in_one_message(self):
        message = refusal(FILLED, RECIPE, corrected=corrected({"finding": "42"}, {"finding": "43"}), documents=PAPERS)
        assert message.splitlines()[0] == "list of rows does not fit the recipe (2 problems):"
        assert '  - list of rows, row 2, column "finding": "43" does not match columns.finding.pattern' in message

    def test_number_columns_have_no_preferences_and_their_cells_are_counted(self):
        rows = [{**row, "patients": "12" if row["id"] == "00" else ""} for row in FILLED]
        changed = [{**row, "patients": "7", "Keywords": "z"} for row in rows]
        found = prefer(rows, RECIPE, corrected=changed, documents=PAPERS, only=["Keywords", "patients"])
        assert {pair.column for pair in found.pairs} == {"Keywords"}
        assert found.lines[0] == (
            "patients: 1 cell left out, since a number is right or wrong, which training on gold cells teaches already"
        )

    def test_nothing_has_changed(self, tmp_path):
        path = tmp_path / "p.jsonl"
        arguments = {"corrected": FILLED, "documents": PAPERS, "only": ["Keywords"]}
        assert refusal(FILLED, RECIPE, path, **arguments) == (
            f"{path} is not written, since no answer is preferred:\nKeywords: 2 cells compared, 0 changed, 2 unchanged"
        )
        assert not path.exists()

    def test_one_table_prefers_nothing(self, tmp_path):
        judged = [{**FILLED[0], "Keywords_good": "yes"}]
        only = {"documents": PAPERS, "only": ["Keywords"]}
        assert refusal(FILLED, RECIPE, **only) == (
            "list of rows alone prefers nothing. Give the corrected table as well, judge the cells in a column such as "
            "Keywords_good (yes or no), or add --synthesise if its cells are the authors' own."
        )
        assert refusal(judged, RECIPE, tmp_path / "p.jsonl", **only) == (
            "list of rows has judgements of single answers, and no pairs to write. Write them with --thumbs instead of "
            "--output, or give the corrected table as well."
        )
        assert refusal(FILLED, RECIPE, corrected=FILLED, thumbs=tmp_path / "t.jsonl", **only) == (
            "list of rows has no judgements to write with --thumbs: none of its cells is yes or no in Keywords_good. "
            "Judge some, or leave out --thumbs."
        )

    def test_columns_that_are_missing(self):
        rows = [{"id": "00", "Keyword": "a"}]
        assert refusal(rows, RECIPE, corrected=rows, only=["Keywords"]) == (
            'list of rows has no column "Keywords", so it is left out. Did you mean "Keyword"?'
        )

    def test_documents_that_are_missing(self):
        new = corrected({"Keywords": "d"}, {"Keywords": "e"})
        assert refusal(FILLED, RECIPE, corrected=new) == (
            "list of rows has no column title, so the documents are not known. Add the table that was predicted: "
            "--documents TABLE."
        )
        assert refusal(FILLED, RECIPE, corrected=new, documents=[PAPERS[0]]) == (
            'list of rows, row 2, column "Keywords": its document is not in list of rows. Give the table that '
            "was predicted."
        )

    def test_without_ids_rows_are_matched_by_their_place_if_their_documents_are_the_same(self):
        filled = [{"title": f"paper {n}", "Keywords": "a; b"} for n in range(3)]
        changed = [filled[0], filled[1], {**filled[2], "Keywords": "c"}]
        recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"id": None})})
        found = prefer(filled, recipe, corrected=changed, only=["Keywords"]).pairs
        assert [(pair.paper, pair.chosen, pair.rejected) for pair in found] == [("3", "c", "a; b")]
        message = 'list of rows has no column "row", so its rows cannot be matched.'
        for other in (changed[1:], changed[1:] + changed[:1]):
            assert refusal(filled, recipe, corrected=other, only=["Keywords"]).startswith(message)

    def test_rows_are_matched_by_their_place_also_if_one_table_has_the_numbers_of_another_order(self):
        filled = [{"row": str(3 - n), "title": f"paper {n}", "Keywords": f"k{n}"} for n in range(3)]
        changed = [{"title": f"paper {n}", "Keywords": f"k{n}"} for n in range(3)]
        changed[0]["Keywords"] = "new"
        recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"id": None})})
        for pair_of_tables, chosen, rejected in (((filled, changed), "new", "k0"), ((changed, filled), "k0", "new")):
            found = prefer(pair_of_tables[0], recipe, corrected=pair_of_tables[1], only=["Keywords"]).pairs
            assert [(p.paper, p.input, p.chosen, p.rejected) for p in found] == [("1", "paper 0", chosen, rejected)]

    def test_the_table_without_row_numbers_is_named(self):
        recipe = RECIPE.model_copy(update={"table": RECIPE.table.model_copy(update={"id": None})})
        message = 'data frame has no column "row", so its rows cannot be matched.'
        numbered, other = [{"row": "1", "Keywords": "a"}], pl.DataFrame({"Keywords": ["b"]})
        assert refusal(numbered, recipe, corrected=other, only=["Keywords"]).startswith(message)
        assert refusal(other, recipe, corrected=numbered, only=["Keywords"]).startswith(message)

    def test_rows_that_cannot_be_matched(self):
        other = [{"id": "1", "Keywords": "a"}]
        assert refusal(FILLED, RECIPE, corrected=other, documents=PAPERS, only=["Keywords"]) == (
            'list of rows and list of rows have no row in common: "id" is "00" in the first row of one and "1" in '
            "that of the other. If a spreadsheet program has changed the ids, such as 0012 to 12, import that column "
            "as text."
        )
        assert refusal(FILLED, RECIPE, corrected=[{"Keywords": "a"}], documents=PAPERS) == (
            'list of rows has neither the id column "id" nor "row", so its rows cannot be matched. Keep the columns '
            "that predict has written, or name the id in table.id."
        )
        assert refusal([*FILLED, *FILLED, {"id": " "}], RECIPE, corrected=FILLED) == "\n".join(
            [
                "list of rows: rows cannot be matched (3 problems):",
                '  - list of rows, row 3, column "id": "00" is already at list of rows, row 1. Make ids unique, or '
                "remove one of the rows.",
                '  - list of rows, row 4, column "id": "01" is already at list of rows, row 2. Make ids unique, or '
                "remove one of the rows.",
                '  - list of rows, row 5, column "id" is empty. Give the row an id, or remove it.',
            ]
        )

    def test_pairs_and_judged_answers_are_not_learned_as_instructions(self, tmp_path):
        from papertune.prompts.check_table import check_table

        collect(corrected({"Keywords": "d", "one_good": "no"}), output=tmp_path / "p.json", thumbs=tmp_path / "t.json")
        for name, message in (
            (
                "p.json",
                "its entries have no output, so there is nothing to learn. They are pairs of answers, for the stages "
                "rm and dpo.",
            ),
            (
                "t.json",
                "its entries have kto_tag, so some answers are bad and must not be learned. Learn from them with the "
                "stage kto, or remove that column and the bad answers.",
            ),
        ):
            path = str(tmp_path / name)
            assert check_table(read_table(path), RECIPE, "train").problems == [f"{path}: {message}"]
