import random
from dataclasses import replace

import polars as pl
import pytest

from papertune.evaluation.checks import leaks
from papertune.evaluation.checks.leaks import find_duplicates, find_leaks, find_shortcuts, leak_warnings
from papertune.kinds.labels.matrix import MAX_LABELS_CHECKED
from papertune.recipe import load_recipe
from papertune.tables import read_table

TITLE = "Vitamin D in winter: a trial of weekly drops among 210 nurses on night shifts in Tromsø and Bodø"


def recipe(document="{title}", **table):
    return load_recipe(
        {
            "model": "m",
            "table": {"id": "uuid", "document": document, **table},
            "columns": {
                "label": {"kind": "label", "question": "Medical?", "labels": ["1", "0"]},
                "Keywords": {"kind": "keywords", "question": "Keywords?"},
            },
        }
    )


def rows(count=60, seed=0):
    rng = random.Random(seed)
    made = []
    for row in range(count):
        label = rng.choice("10")
        names = [f"{rng.choice('ABCDE')}{'n' * rng.randint(1, 5)} Surname{rng.choice('abc')}" for _ in range(3)]
        made.append(
            {
                "uuid": f"p{row}",
                "title": " ".join(f"w{rng.randint(0, 500)}" for _ in range(20)),
                "author": ",".join(names) if label == "1" else "; ".join(names),
                "label": label,
            }
        )
    return made


def test_duplicate_pairs_have_both_ids_the_most_similar_pair_first():
    train = read_table(
        [{"uuid": "old1", "title": TITLE}, {"uuid": "old2", "title": "Of something else altogether, it is"}]
    )
    nearly = TITLE.replace("210", "211")
    scored = read_table(
        [
            {"uuid": "new1", "title": nearly},
            {"uuid": "new2", "title": "other"},
            {"uuid": "new3", "title": TITLE.upper()},
        ]
    )
    found = find_duplicates(scored, train, recipe("title: {title}"))
    assert [(pair.id, pair.other_id, pair.exact) for pair in found] == [("new3", "old1", True), ("new1", "old1", False)]
    assert found[0].document == f"title: {TITLE.upper()}"
    assert found[0].other_document == f"title: {TITLE}"
    assert 0.4 < found[1].similarity < 1


def test_empty_documents_and_the_words_of_the_template_are_not_duplicates():
    template = "here are the title and the abstract of a paper: {title}"
    empty = read_table([{"uuid": "a", "title": ""}, {"uuid": "b", "title": "one"}])
    other = read_table([{"uuid": "c", "title": ""}, {"uuid": "d", "title": "two"}])
    assert find_duplicates(empty, other, recipe(template)) == []


def test_a_label_that_the_author_format_predicts_is_a_shortcut():
    found = find_shortcuts(read_table(rows()), recipe())
    assert [(shortcut.label_column, shortcut.column, shortcut.in_document) for shortcut in found] == [
        ("label", "author", False)
    ]
    assert str(found[0]).startswith(
        'column "author": its number of commas alone predicts label with accuracy 1.000; the most frequent label has 0.'
    )
    assert str(found[0]).endswith("The model does not read this column; do not add it to table.document.")
    shown = find_shortcuts(read_table(rows()), recipe("{title} {author}"))
    assert shown[0].in_document
    assert "may say little about papers of another source. Remove this from the cells, or the column" in str(shown[0])


def test_only_the_input_of_an_instruction_file_is_examined():
    entries = [
        {"instruction": "Medical?", "input": f"t{row} " + ("a,b" if row % 2 else "a;b"), "output": str(row % 2)}
        for row in range(60)
    ]
    entries += [{"instruction": "Keywords?", "input": f"t{row}", "output": "k"} for row in range(60)]
    found = find_shortcuts(read_table(entries), recipe())
    assert [(shortcut.column, shortcut.in_document) for shortcut in found] == [("input", True)]
    assert all("repeat" not in warning.text for warning in leak_warnings(read_table(entries), recipe()))


def topics(labels=("heart", "lung", "liver")):
    return load_recipe(
        {
            "model": "m",
            "table": {"id": "uuid", "document": "{title}"},
            "columns": {"topics": {"kind": "labels", "question": "About {label}?", "labels": list(labels)}},
        }
    )


def topic_rows(count=80):
    """Return papers whose authors predict the topic "heart"; nothing predicts "lung"."""
    rng = random.Random(1)
    made = rows(count)
    for row in made:
        row["topics"] = "; ".join(["heart"] * (row.pop("label") == "1") + ["lung"] * (rng.random() < 0.4))
    return made


def test_each_label_of_a_labels_column_is_examined_by_itself():
    made = topic_rows()
    found = find_shortcuts(read_table(made), topics())
    assert [(shortcut.label_column, shortcut.label, shortcut.column) for shortcut in found] == [
        ("topics", "heart", "author")
    ]
    has = ["heart" in row["topics"] for row in made]
    yes, no = has.count(True), has.count(False)
    assert str(found[0]) == (
        'column "author": its number of commas alone predicts label "heart" of topics with accuracy 1.000; the most '
        f"frequent answer has {max(yes, no) / len(made):.3f}. Above 1, {yes} of {yes} rows are heart; otherwise, {no} "
        f"of {no} rows are not heart. The model does not read this column; do not add it to table.document."
    )
    # A row with an unknown label is ignored.
    made[0]["topics"] = "heart; spleen"
    majority = max(has[1:].count(True), has[1:].count(False)) / (len(made) - 1)
    assert find_shortcuts(read_table(made), topics())[0].feature.majority == pytest.approx(majority)


def test_instruction_entries_about_one_label_are_examined_by_label():
    entries = [
        {"instruction": f"About {label}?", "input": f"t{row} " + ("a,b" if row % 2 else "a;b"), "output": answer}
        for row in range(60)
        for label, answer in (("heart", "yes" if row % 2 else "no"), ("lung", "yes" if row % 3 else "no"))
    ]
    found = find_shortcuts(read_table(entries), topics())
    assert [(shortcut.label, shortcut.column, shortcut.in_document) for shortcut in found] == [("heart", "input", True)]
    assert "30 of 30 rows are heart; otherwise, 30 of 30 rows are not heart." in str(found[0])


def test_only_the_most_frequent_labels_are_examined(monkeypatch):
    labels = [f"l{number}" for number in range(MAX_LABELS_CHECKED + 3)]
    made = [{"title": "t", "topics": "; ".join(labels[row:])} for row in range(len(labels) + 1)]  # the last most often
    asked = []
    monkeypatch.setattr(leaks, "find_surface_feature", lambda cells, given: asked.append(set(given)))
    assert find_shortcuts(read_table(made), topics(labels)) == []
    assert asked == [{label, f"not {label}"} for label in reversed(labels[3:])]


def test_shortcuts_are_searched_in_the_training_table_if_there_is_one():
    train, scored = read_table(rows(60)), read_table(rows(10, seed=1))
    both = find_leaks(scored, train, recipe())
    assert both.learnt_from == "list of rows"
    assert both.duplicates == []
    assert len(both.shortcuts) == 1
    alone = find_leaks(train, None, recipe())
    assert (alone.learnt_from, alone.duplicates) == ("", [])
    assert alone.shortcuts == both.shortcuts
    assert len(find_leaks(train, train, recipe()).duplicates) == 60


def test_copies_of_dev_rows_are_marked():
    scored, train, dev = (read_table(rows(count, seed=seed)) for count, seed in ((10, 1), (60, 0), (9, 2)))
    copies = replace(dev, frame=pl.concat([dev.frame, scored.frame[3:5]]), source="dev.csv")
    keywords = recipe().only(("Keywords",))  # a label column would be searched for shortcuts, which is slow
    found = find_leaks(scored, train, keywords, copies)
    assert (found.learnt_from, found.dev) == ("list of rows", "dev.csv")
    assert [(pair.id, pair.exact, pair.is_dev) for pair in found.duplicates] == [
        (scored.column("uuid")[row], True, True) for row in (3, 4)
    ]
    both = find_leaks(scored, scored, keywords, copies).duplicates
    assert [pair.is_dev for pair in both] == [False] * 10 + [True] * 2
    assert find_leaks(scored, train, keywords).dev == ""


def test_training_tables_are_warned_of_repeated_documents_and_shortcuts():
    made = rows()
    made[7]["title"] = made[3]["title"] + " more"
    made[9]["title"] = made[3]["title"]
    warnings = list(leak_warnings(read_table(made), recipe()))
    assert (warnings[0].text, warnings[0].row) == (
        "list of rows, row 8: the document is nearly that of list of rows, row 4; 2 rows repeat an earlier one. Dev "
        "or test rows split from this table may then be copies of training rows: keep one of each.",
        7,
    )
    assert len(warnings) == 1  # the model does not read the authors
    shown = list(leak_warnings(read_table(rows()), recipe("{title} {author}")))
    assert len(shown) == 1
    assert shown[0].text.startswith('list of rows, column "author": its number of commas alone predicts label')


def test_columns_of_the_recipe_are_not_shortcuts():
    made = [{**row, "Keywords": "a" if row["label"] == "1" else "a; b; c"} for row in rows()]
    assert [shortcut.column for shortcut in find_shortcuts(read_table(made), recipe())] == ["author"]


@pytest.mark.parametrize("columns", [["uuid", "label"], ["title"]])
def test_tables_without_document_or_label_columns_have_no_shortcuts(columns):
    table = read_table([{name: row[name] for name in columns} for row in rows()])
    assert find_leaks(table, table, recipe()).shortcuts == []


def test_several_questions_about_one_document_are_no_copies():
    chosen = load_recipe("instruct")
    entries = [{"instruction": f"What of {word}?", "input": TITLE, "output": word} for word in ("winter", "drops")]
    assert list(leak_warnings(read_table(entries), chosen)) == []
    (warning,) = leak_warnings(read_table([*entries, entries[0]]), chosen)
    assert "row 3: the document is that of list of rows, row 1; 1 row repeats an earlier one" in warning.text
    # The last question of two conversations may be the same.
    asked = {"instruction": "And then?", "output": "x"}
    rounds = [{**asked, "history": [[f"What of {word}?", "y"]]} for word in ("winter", "drops")]
    assert list(leak_warnings(read_table(rounds), chosen)) == []
    assert len(list(leak_warnings(read_table([*rounds, rounds[1]]), chosen))) == 1


def test_tables_to_predict_are_warned_of_repeated_documents_only():
    papers = [{"title": title, "author": "x"} for title in ("The heart of man", "A graph", "the heart of man.")]
    assert [each.text for each in leak_warnings(read_table(papers), recipe("{title}"), "predict")] == [
        "list of rows, row 3: the document is that of list of rows, row 1; 1 row repeats an earlier one. Each of them "
        "is predicted, perhaps not alike: keep one of each."
    ]
