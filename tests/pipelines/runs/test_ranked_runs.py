import copy
import json
import shutil

import pytest

import papertune
from papertune import PapertuneWarning, RunError
from papertune.calibration.rows import find_candidates
from papertune.inference.journal import prediction_facts
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked.ranking import FEATURES
from papertune.models import cpu_features
from papertune.pipelines.training.job import split_dev_rows
from papertune.tables import read_table


@pytest.fixture(scope="module")
def ranked(both_columns):
    """Return a recipe for ranked keywords with a learned minimum confidence."""
    recipe = copy.deepcopy(both_columns)
    recipe["columns"] = {
        "Keywords": {
            "kind": "ranked_keywords",
            "question": "Keyword?",
            "count": 4,
            "beams": 4,
            "max_keyword_tokens": 12,
            "min_confidence": "f1",
            "sources": ["model"],
        }
    }
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def fitted(ranked, papers, dev, training_listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ranked"
    return papertune.train(papers(16), ranked, folder, dev=dev, listener=training_listener)


@pytest.fixture(scope="module")
def filled(fitted, papers):
    return fitted.predict(papers(12, 100), probabilities=True)


def with_column(run, **settings):
    column = run.recipe.columns["Keywords"].model_copy(update=settings)
    run.recipe = run.recipe.model_copy(update={"columns": {"Keywords": column}})
    return run


def rank_keywords(run, tables):
    """Return the ranking that is fitted on some tables."""
    predicted = find_candidates(run, tables, ["Keywords"])["Keywords"]
    return run.recipe.columns["Keywords"].calibrate("Keywords", predicted).record


def test_the_ranking_is_fitted_on_the_calibration_set(fitted, dev, training_listener):
    (_, (calibration_set,)) = split_dev_rows([read_table(dev)], fitted.recipe)
    found = fitted.manifest.rankings["Keywords"]
    assert found.rows == len(calibration_set) == 40
    again = rank_keywords(fitted, [calibration_set])
    assert again.weights == pytest.approx(found.weights, abs=1e-3)
    assert again.min_confidence == pytest.approx(found.min_confidence, abs=1e-4)
    written = json.loads((fitted.directory.path / "run.json").read_text())["rankings"]["Keywords"]
    assert set(written["weights"]) == set(FEATURES)
    assert "ranking keywords on 40 dev rows" in training_listener.messages
    cut = f"minimum confidence {found.min_confidence:.3f}"
    assert f"Keywords: the ranking of keywords is fitted on 40 dev rows; {cut}" in training_listener.messages


def test_progress_on_dev_rows_is_reported(fitted, training_listener):
    steps = [step for step in training_listener.steps if step.stage == "rows"]
    # The dev score and the comparison of float32 with int8 on the selection set, and the calibration set.
    passes = 4 if cpu_features().int8 else 2
    ends = [number for number, step in enumerate(steps) if step.done == step.total == 40]
    assert len(ends) == passes
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        done = [step.done for step in steps[start : end + 1]]
        assert done == sorted(done)
    assert ends[-1] == len(steps) - 1


def test_the_output_has_the_confidence_of_each_keyword(fitted, filled):
    assert filled.columns == ["uuid", "Keywords", "Keywords_confidence", "Keywords_given"]
    min_confidence = fitted.manifest.rankings["Keywords"].min_confidence
    counts = set()
    for keywords, confidence in zip(filled["Keywords"], filled["Keywords_confidence"], strict=True):
        confidences = [float(number) for number in confidence.split("; ") if number]
        assert len(confidences) == len(split_keywords(keywords)) <= 4
        assert confidences == sorted(confidences, reverse=True)
        assert all(min_confidence - 1e-6 <= number <= 1 for number in confidences)
        counts.add(len(confidences))
    assert min(counts) < 4, "the cut-off makes no difference"


def test_without_the_ranking_other_keywords_are_written(fitted, filled, papers):
    bare = papertune.load_run(fitted.directory.path)
    bare.manifest.rankings.clear()
    with pytest.warns(PapertuneWarning, match="gave nothing for min_confidence; up to 4 keywords are written"):
        plain = bare.predict(papers(12, 100))
    assert all(0 < len(split_keywords(cell)) <= 4 for cell in plain["Keywords"])
    assert plain["Keywords"].to_list() != filled["Keywords"].to_list()
    assert prediction_facts(bare, "float32") != prediction_facts(fitted, "float32")
    # A journal from before there were confidences is not resumed.
    assert prediction_facts(bare, "float32")["what is kept of ranked keywords"] == "texts and confidences"
    # Without a ranking, phrases of the document are not searched.
    searched = with_column(bare, candidates="generated", min_confidence=0.0).predict(papers(12, 100))
    assert searched["Keywords"].to_list() == plain["Keywords"].to_list()


def test_a_cell_without_a_letter_does_not_count_as_keywords(fitted, papers):
    rows = papers(4, 300)
    for row, cell in zip(rows, ("-", "—; ?", "", "graph"), strict=True):
        row["Keywords"] = cell
    assert rank_keywords(fitted, [read_table(rows)]).rows == 1


def test_confidence_is_written_only_on_request(fitted, papers):
    assert fitted.predict(papers(2)).columns == ["uuid", "Keywords", "Keywords_given"]
    named = fitted.predict(papers(2), columns=["uuid", "Keywords_confidence"], probabilities=True)
    assert named.columns == ["uuid", "Keywords_confidence"]


def test_with_document_candidates_every_keyword_is_in_the_document(fitted, papers):
    run = with_column(papertune.load_run(fitted.directory.path), candidates="document", min_confidence=0.0)
    rows = papers(6, 100)
    for row, cell in zip(rows, run.predict(rows)["Keywords"], strict=True):
        text = f"title: {row['title']}\nabstract: {row['abstract']}"
        assert len(split_keywords(cell)) == 4
        assert all(keyword in text for keyword in split_keywords(cell))
        assert not {"title", "abstract"} & set(split_keywords(cell))


def test_a_ranking_with_an_unknown_feature_is_damaged(fitted, tmp_path):
    folder = shutil.copytree(fitted.directory.path, tmp_path / "run")
    values = json.loads((folder / "run.json").read_text())
    values["rankings"]["Keywords"]["weights"] = {"luck": 1.0}
    (folder / "run.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"run\.json is damaged: the ranking of Keywords has the features luck"):
        papertune.load_run(folder)


def test_too_few_dev_rows_fit_no_ranking(ranked, papers, listener, tmp_path):
    with pytest.warns(PapertuneWarning, match='column "Keywords": min_confidence will not be fitted: 0 rows are'):
        run = papertune.train(papers(8), ranked, tmp_path / "run", dev=papers(6, 300), listener=listener)
    assert run.manifest.rankings == {}
    assert (
        "keywords are ranked by their probability alone: at least 60 dev rows with an answer are needed"
        in listener.messages
    )
