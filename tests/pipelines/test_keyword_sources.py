import copy
import json
import shutil
from dataclasses import replace

import pytest

import papertune
from papertune import PapertuneWarning, RecipeError, RunError, TableError
from papertune.errors import MissingExtraError
from papertune.inference.journal import NO_MODEL, prediction_facts
from papertune.kinds.keywords.by_words.tfidf import TfidfKeywords
from papertune.kinds.keywords.by_words.words import load_words
from papertune.kinds.keywords.cells import split_keywords
from papertune.kinds.keywords.ranked.ranking import JOINED_FEATURES
from papertune.kinds.keywords.ranked.record import Ranking
from papertune.metrics.phrases import normalise_keyword


@pytest.fixture(scope="module")
def ranked(both_columns):
    recipe = copy.deepcopy(both_columns)
    column = {"kind": "ranked_keywords", "question": "Keyword?", "count": 4, "beams": 4, "max_keyword_tokens": 12}
    recipe["columns"] = {"Keywords": column}
    recipe["training"] |= {"micro_batch_size": 8}
    return recipe


@pytest.fixture(scope="module")
def run(ranked, papers, training_listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "words"
    return papertune.train(papers(24), ranked, folder, listener=training_listener)


def document(row):
    return f"title: {row['title']}\nabstract: {row['abstract']}"


def without_weights(monkeypatch):
    """Make loading weights an error."""

    def fail(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)


def test_without_dev_rows_the_words_rank_and_the_model_is_not_asked(run, papers, training_listener, monkeypatch):
    without_weights(monkeypatch)
    rows = papers(8, 100)
    words = load_words(run.directory.source_folder("Keywords"))
    assert words.record.rows == 24
    filled = papertune.load_run(run.directory.path).predict(rows, probabilities=True)
    for row, cell, confidence in zip(rows, filled["Keywords"], filled["Keywords_confidence"], strict=True):
        expected = words.rank(document(row), 4)
        assert split_keywords(cell) == [text for text, _ in expected]
        assert confidence == "; ".join(f"{each:.6f}" for _, each in expected)
    (message,) = [message for message in training_listener.messages if message.startswith("Keywords: ")]
    assert message.startswith("Keywords: phrases are ranked by t")


def test_few_training_rows_are_no_worse_than_the_baseline(ranked, papers, listener, tmp_path):
    rows = papers(8)
    few = papertune.train(rows, ranked, tmp_path / "run", listener=listener)
    others = papers(5, 100)
    expected = TfidfKeywords([document(row) for row in rows]).predict([document(row) for row in others], count=4)
    assert [split_keywords(cell) for cell in few.predict(others)["Keywords"]] == expected
    assert "Keywords: phrases are ranked by tf-idf: 8 training rows are too few to learn from" in listener.messages


def test_a_run_without_the_files_of_the_words_predicts_with_the_model(run, ranked, papers, tmp_path):
    folder = shutil.copytree(run.directory.path, tmp_path / "run")
    shutil.rmtree(folder / "sources")
    bare = papertune.load_run(folder)
    modelled = copy.deepcopy(ranked)
    modelled["columns"]["Keywords"]["sources"] = ["model"]
    other = papertune.train(papers(24), modelled, tmp_path / "model")
    assert not other.directory.sources.exists()
    rows = papers(6, 100)
    assert bare.predict(rows)["Keywords"].to_list() == other.predict(rows)["Keywords"].to_list()
    assert prediction_facts(bare, "float32")["the run"] != prediction_facts(run, "float32")["the run"]
    column = bare.recipe.columns["Keywords"].model_copy(update={"sources": ("words",)})
    bare.recipe = bare.recipe.model_copy(update={"columns": {"Keywords": column}})
    assert bare.predict(rows)["Keywords"].to_list() == other.predict(rows)["Keywords"].to_list()


def test_dev_rows_decide_whether_the_model_joins_the_words(run, papers, listener, tmp_path):
    folder = shutil.copytree(run.directory.path, tmp_path / "run")
    calibrated = papertune.calibrate(folder, papers(40, 300), listener=listener)
    found = calibrated.manifest.rankings["Keywords"]
    assert found.rows == 40
    assert set(found.evidence) == {"words", "joined", "standard_error"}
    joined = found.evidence["joined"] - found.evidence["words"] > found.evidence["standard_error"]
    assert (found.weights is not None) == joined
    (message,) = [message for message in listener.messages if message.startswith("Keywords: ")]
    assert f"{found.evidence['joined']:.3f} together, {found.evidence['words']:.3f} by the words alone" in message
    assert len(calibrated.predict(papers(4, 100))) == 4


def test_a_joined_ranking_uses_the_log_odds_of_the_words(run, papers):
    weights = {name: float(name == "word_log_odds") for name in JOINED_FEATURES}
    joined = papertune.load_run(run.directory.path)
    column = joined.recipe.columns["Keywords"].model_copy(update={"candidates": "document"})
    joined.recipe = joined.recipe.model_copy(update={"columns": {"Keywords": column}})
    joined.manifest = replace(joined.manifest, rankings={"Keywords": Ranking(40, weights)})
    words = load_words(run.directory.source_folder("Keywords"))
    learned = replace(words, record=replace(words.record, order="learned"))
    rows = papers(6, 100)
    for row, cell in zip(rows, joined.predict(rows)["Keywords"], strict=True):
        own = {"titl", "abstract"}
        expected = [form for text, _ in learned.rank(document(row), 8) if (form := normalise_keyword(text)) not in own]
        assert [normalise_keyword(keyword) for keyword in split_keywords(cell)] == expected[:4]


def test_words_alone_with_a_learned_minimum_confidence(ranked, papers, listener, tmp_path, monkeypatch):
    recipe = copy.deepcopy(ranked)
    recipe["columns"]["Keywords"] |= {"sources": ["words"], "min_confidence": "f1"}
    without_weights(monkeypatch)
    with pytest.warns(PapertuneWarning, match="min_confidence will not be fitted"):
        trained = papertune.train(papers(24), recipe, tmp_path / "run", listener=listener)
    (message,) = [message for message in listener.messages if message.startswith("Keywords: phrases")]
    assert message.endswith("; no model is trained for it")
    assert not trained.directory.has_model
    assert "fitted by papertune without training a model" in (trained.directory.path / "README.md").read_text()
    calibrated = papertune.calibrate(trained, papers(40, 300), listener=listener)
    found = calibrated.manifest.rankings["Keywords"]
    assert (found.rows, found.weights, found.evidence) == (40, None, None)
    message = f"Keywords: the minimum confidence {found.min_confidence:.3f} is fitted on 40 dev rows"
    assert message in listener.messages
    cells = calibrated.predict(papers(6, 100), probabilities=True)["Keywords_confidence"]
    confidences = [float(number) for cell in cells for number in cell.split("; ") if number]
    assert all(number >= found.min_confidence - 1e-6 for number in confidences)
    assert calibrated.settled_precision() == NO_MODEL
    predicted = calibrated.predict_file(papers(6, 100), tmp_path / "out.csv", probabilities=True)
    assert predicted.rows_begun == 6
    shutil.rmtree(calibrated.directory.sources)
    with pytest.raises(RunError, match="is incomplete: sources is missing"):
        papertune.load_run(tmp_path / "run")


def test_words_alone_beside_columns_that_the_model_learns(ranked, papers, tmp_path, listener):
    recipe = copy.deepcopy(ranked)
    recipe["columns"]["Keywords"]["sources"] = ["words"]
    question = {"kind": "label", "question": "Medical?", "labels": ["1", "0"], "sources": ["model"]}
    recipe["columns"]["label"] = question
    both = papertune.train(papers(24), recipe, tmp_path / "both", overrides=["training.max_steps=3"], listener=listener)
    assert any("parameters on 24 examples" in message for message in listener.messages)
    alone = papertune.train(papers(24), recipe, tmp_path / "alone", only=["Keywords"])
    rows = papers(12, 100)
    filled = both.predict(rows)
    assert filled["Keywords"].to_list() == alone.predict(rows)["Keywords"].to_list()
    assert set(filled["label"]) <= {"1", "0"}
    opened = papertune.load_run(both.directory.path)
    only = opened.predict(rows, columns=["uuid", "Keywords"])
    assert only["Keywords"].to_list() == filled["Keywords"].to_list()
    assert opened._predictor is None  # this column needs no model


def test_words_alone_beside_labels_without_a_model(ranked, papers, tmp_path, listener, monkeypatch):
    without_weights(monkeypatch)
    recipe = copy.deepcopy(ranked) | {"method": {"kind": "probe"}}
    with pytest.raises(RecipeError, match=r'ranked_keywords with sources = \["words"\]'):
        papertune.train(papers(24), recipe, tmp_path / "run")
    recipe["columns"]["Keywords"] |= {"sources": ["words"], "min_confidence": "f1"}
    recipe["columns"]["label"] = {"kind": "label", "question": "M?", "labels": ["1", "0"], "sources": ["words"]}
    with pytest.warns(PapertuneWarning, match="min_confidence will not be fitted"):
        run = papertune.train(papers(60), recipe, tmp_path / "run", listener=listener)
    assert not run.manifest.rankings  # the words have seen the training rows' own keywords
    assert run.manifest.calibration["label"].rows == 60
    with pytest.warns(PapertuneWarning, match="gave nothing for min_confidence"):
        filled = run.predict(papers(5, 100))
    assert all(filled["Keywords"])
    assert set(filled["label"]) <= {"1", "0"}


def test_words_alone_without_a_single_keyword(ranked, papers, tmp_path):
    recipe = copy.deepcopy(ranked)
    recipe["columns"]["Keywords"]["sources"] = ["words"]
    rows = [{**row, "Keywords": "+"} for row in papers(3)]
    expected = r'column "Keywords": no training row has a keyword\. Add rows, or let'
    with pytest.raises(TableError, match=expected):
        papertune.train(rows, recipe, tmp_path / "run")


def test_the_same_words_are_learned_again(run, ranked, papers, tmp_path):
    again = papertune.train(papers(24), ranked, tmp_path / "again")
    for name in ("words.json", "words.npz"):
        files = [each.directory.source_folder("Keywords") / name for each in (run, again)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_damaged_words_are_an_error(run, tmp_path):
    folder = shutil.copytree(run.directory.path, tmp_path / "run")
    file = folder / "sources" / "Keywords" / "words.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"weights": {"luck": 1.0}}))
    with pytest.raises(RunError) as caught:
        papertune.load_run(folder)
    assert str(caught.value) == (f"the ranking in {file} has other features: luck. Train again, or restore the file.")


def test_the_encoder_of_the_recipe_looks_again(ranked, encoder_folder, listener, tmp_path, monkeypatch):
    without_weights(monkeypatch)
    recipe = copy.deepcopy(ranked) | {"encoder": str(encoder_folder)}
    recipe["columns"]["Keywords"]["sources"] = ["words", "encoder"]
    topics = ["solar cells", "protein folding", "market design", "glacier melt"]
    rows = [
        {
            "uuid": f"p{n}",
            "title": f"Notes {n}",
            "abstract": f"The {topics[n % 4]} is old. Look at {topics[n % 4]}. We study {topics[(n * 3 + 1) % 4]} now.",
            "Keywords": topics[(n * 3 + 1) % 4],
        }
        for n in range(24)
    ]
    run = papertune.train(rows, recipe, tmp_path / "run", listener=listener)
    assert any("; the sentence encoder " in message for message in listener.messages)
    file = run.directory.source_folder("Keywords") / "words.json"
    values = json.loads(file.read_text("utf-8"))
    weights = dict.fromkeys(values["meaning"]["weights"], 0.0) | {"word_log_odds": -1.0}  # the other way round
    values["meaning"] |= {"is_used": True, "weights": weights}
    file.write_text(json.dumps(values))
    words = load_words(file.parent)
    best = [text for text, _ in replace(words, record=replace(words.record, meaning=None)).rank(document(rows[0]), 40)]
    assert len(best) > 8
    again = papertune.load_run(run.directory.path).predict(rows[:1])["Keywords"].to_list()
    assert [split_keywords(cell) for cell in again] == [best[::-1][:4]]
    values["meaning"]["checksum"] = "0" * 64
    file.write_text(json.dumps(values))
    with pytest.raises(RunError, match="Give the folder of the right one as encoder in the run's recipe"):
        papertune.load_run(run.directory.path).predict(rows[:1])


def test_an_encoder_that_is_not_installed_is_an_error(ranked, papers, tmp_path, monkeypatch):
    monkeypatch.setattr("papertune.sources.wanted.find_encoder", lambda _name: None)
    recipe = copy.deepcopy(ranked)
    recipe["columns"]["Keywords"]["sources"] = ["words", "encoder"]
    with pytest.raises(MissingExtraError) as caught:
        papertune.train(papers(8), recipe, tmp_path / "run")
    assert str(caught.value).startswith(
        'columns.Keywords.sources names "encoder", and no sentence encoder is installed: '
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sources": ["words", "words"]}, 'sources names one twice; the sources are "words", "encoder" and "model"'),
        (
            {"sources": ["encoder", "model"]},
            'sources names "encoder", which looks again at phrases ranked by "words"; name both',
        ),
        (
            {"sources": ["words", "encoder"], "candidates": "generated"},
            'sources is ["words", "encoder"], which ranks phrases of the document, but candidates is "generated"; '
            "remove one",
        ),
        (
            {"sources": ["words"], "candidates": "generated"},
            'sources is ["words"], which ranks phrases of the document, but candidates is "generated"; remove one',
        ),
    ],
)
def test_sources_that_make_no_sense_are_errors(ranked, settings, expected):
    recipe = copy.deepcopy(ranked)
    recipe["columns"]["Keywords"] |= settings
    with pytest.raises(RecipeError) as caught:
        papertune.train([{"uuid": "1"}], recipe, "run")
    assert expected in str(caught.value)


def test_the_folder_of_a_column_with_signs_in_its_name(run):
    folder = run.directory.sources
    assert run.directory.source_folder("a/b") == folder / "a%2Fb"
    assert run.directory.source_folder("..") == folder / "%2E%2E"
    assert run.directory.source_folder("关键词") != run.directory.source_folder("关键")
