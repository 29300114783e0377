"""Features that are computed in another process and kept on disk are those that this process would compute."""

import io
import itertools
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from papertune.errors import ScreeningError
from papertune.events import Progress
from papertune.screening import Project
from papertune.screening.ranking import apart, prepared, queue
from papertune.screening.ranking.apart import Stopped
from papertune.screening.ranking.encoding import _Report, embed_apart
from papertune.screening.ranking.features import embed
from papertune.screening.ranking.fitting import Fitter, main
from papertune.screening.ranking.prepared import load_prepared, prepare, prepare_apart
from papertune.screening.ranking.ranker import rank

WORDS = [f"word{number}" for number in range(50)]
DOCUMENTS = [" ".join(np.random.default_rng(n).choice(WORDS, 30)) for n in range(40)]
DOCUMENTS += [DOCUMENTS[3] + " übrigens", "", "Ünïcödé 医学研究"]
# More than an argument of a command may have, and a character that none may have.
LONG_QUERY = "word3 word4 \0 " + "医学研究 " * 20_000
VECTORS = np.random.default_rng(0).normal(size=(len(DOCUMENTS), 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch):
    monkeypatch.setattr(prepared, "_MIN_DOCUMENTS", 3)


def same(stored, plain, documents):
    assert stored.groups == plain.groups
    assert (stored.features.matrix != plain.features.matrix).nnz == 0
    assert list(stored.features.terms) == list(plain.features.terms)
    assert stored.features.terms[-3:] == list(plain.features.terms)[-3:]
    assert stored.features.stemmed == plain.features.stemmed
    assert (stored.features.similarity is None) == (plain.features.similarity is None)
    rankings = [rank(each.features, {0: True, 1: False}) for each in (stored, plain)]
    assert rankings[0].order.tolist() == rankings[1].order.tolist()
    assert rankings[0].words(2, documents[2]) == rankings[1].words(2, documents[2])


@pytest.mark.slow
def test_a_process_computes_what_this_one_would_compute_and_only_once(tmp_path, monkeypatch):
    (tmp_path / "prepared-old").mkdir()
    (tmp_path / "new-prepared-killed").mkdir()
    for _ in range(2):
        stored = prepare_apart(DOCUMENTS, LONG_QUERY, VECTORS, tmp_path)
        same(stored, prepare(DOCUMENTS, LONG_QUERY, VECTORS), DOCUMENTS)
        monkeypatch.setattr(subprocess, "Popen", None)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(("documents", "query"), [(DOCUMENTS, ""), (DOCUMENTS, "word3"), (["", "", ""], "")])
def test_what_is_stored_is_read_again(tmp_path, documents, query):
    plain = prepare(documents, query, None)
    prepared._save(plain, tmp_path / "prepared-1")
    same(load_prepared(tmp_path / "prepared-1"), plain, documents)


@pytest.mark.slow
def test_a_process_ranks_as_this_one_would_until_it_is_killed_or_closed(tmp_path):
    folder = tmp_path / "prepared-1"
    prepared._save(prepare(DOCUMENTS, "word3", None), folder)
    features = load_prepared(folder).features
    with closing(Fitter(folder)) as fitter:
        for known in ({0: True, 1: False}, {5: True, 1: False, 0: True}, {0: True}, {}):
            ranked, plain = fitter.rank(features, known, 7), rank(features, known, 7)
            assert (ranked.basis, ranked.order.tolist()) == (plain.basis, plain.order.tolist())
            assert ranked.scores.tolist() == plain.scores.tolist()
            assert ranked.words(2, DOCUMENTS[2]) == plain.words(2, DOCUMENTS[2])
        with pytest.raises(ScreeningError, match=r"^the ranking could not be computed: IndexError: .*\.$"):
            fitter.rank(features, {0: True, 99: False}, 7)
        assert fitter.is_alive
        fitter._process.kill()
        with pytest.raises(ScreeningError) as caught:
            fitter.rank(features, {0: True, 1: False}, 7)
        assert str(caught.value) == (
            "the ranking could not be computed: its process has ended. Make room in memory, then decide about another "
            "record."
        )
        assert not fitter.is_alive
    with pytest.raises(Stopped):
        fitter.rank(features, {0: True, 1: False}, 7)


def test_a_process_that_ranks_ends_with_the_one_that_asks(tmp_path):
    prepared._save(prepare(DOCUMENTS, "", None), tmp_path / "prepared-1")
    answers = io.BytesIO()
    main(tmp_path / "prepared-1", io.BytesIO(b'{"relevant": [], "seed": 3}\n'), answers)
    assert json.loads(answers.getvalue().partition(b"\n")[0]) == {
        "basis": "chance",
        "has_weights": False,
        "lengths": [len(DOCUMENTS), len(DOCUMENTS), 0, 0],
    }


@pytest.mark.slow
def test_decisions_are_learned_in_the_process_and_it_ends_with_the_screening(tmp_path, monkeypatch):
    def here(module, given, arguments, stopped):
        prepared._save(prepare(apart.given_documents(given), "", None), Path(arguments[0]))

    monkeypatch.setattr(prepared, "run_apart", here)
    rows = [{"title": f"{'heart' if n % 2 else 'graph'} {n}", "abstract": DOCUMENTS[n]} for n in range(20)]
    with Project.create(tmp_path / "screen", rows, encoder="none") as project:
        project.decide(1, "include")
        project.decide(0, "exclude")
        assert project.queue.wait()
        fitter = project.queue._fitter
        assert fitter.is_alive
        plain = rank(prepare(project.records.documents(), "", None).features, {1: True, 0: False})
        assert project.queue.ranking.order.tolist() == plain.order.tolist()
        fitter._process.kill()
        fitter._process.wait()
        project.decide(3, "include")
        assert project.queue.wait()
        assert project.queue.ranking.basis == "decisions"
    assert not fitter.is_alive
    assert not project.queue._fitter.is_alive


@pytest.mark.slow
def test_the_process_ends_after_a_time_without_decisions_and_begins_again_with_the_next_one(tmp_path, monkeypatch):
    def here(module, given, arguments, stopped):
        prepared._save(prepare(apart.given_documents(given), "", None), Path(arguments[0]))

    monkeypatch.setattr(prepared, "run_apart", here)
    monkeypatch.setattr(queue, "IDLE_S", 0.01)
    rows = [{"title": f"{'heart' if n % 2 else 'graph'} {n}", "abstract": DOCUMENTS[n]} for n in range(20)]
    with Project.create(tmp_path / "screen", rows, encoder="none") as project:
        project.decide(1, "include")
        project.decide(0, "exclude")
        assert project.queue.wait()
        project.queue._idle.join(20)
        assert project.queue._fitter is None
        monkeypatch.setattr(queue, "IDLE_S", 300)
        project.decide(3, "include")
        assert project.queue.wait()
        assert project.queue._fitter.is_alive
        timer = project.queue._idle
    timer.join(20)
    assert not project.queue._fitter.is_alive


def test_nobody_waits_for_a_process_that_is_not_needed_any_more(tmp_path, monkeypatch):
    looks = itertools.count()
    monkeypatch.setattr(apart, "_POLL_S", 0.01)
    with pytest.raises(Stopped):
        prepare_apart(DOCUMENTS, "", None, tmp_path, lambda: next(looks) > 1)
    assert [path.name for path in tmp_path.iterdir() if path.name != "prepared.lock"] == []


def test_a_process_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ScreeningError) as caught:
        prepare_apart(DOCUMENTS, "", None, tmp_path)
    assert str(caught.value) == (
        "the ranking could not be computed: the process ended with 1. Make room on the disk and in memory, then open "
        "the screening again."
    )


@pytest.mark.slow
def test_vectors_of_another_process_are_those_of_this_one(tmp_path, encoder_folder, make_listener):
    listener = make_listener(on_rows=lambda _: None)
    documents = ["a trial in patients", "learning of graphs", ""]
    vectors = embed_apart(documents, str(encoder_folder), tmp_path, listener)
    assert np.array_equal(vectors, embed(documents, str(encoder_folder), None))
    assert [(step.stage, step.done, step.total) for step in listener.steps] == [("rows", 3, 3)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".f32"]


def test_a_process_whose_parent_has_ended_makes_no_more_vectors(tmp_path):
    step = Progress("rows", 1, 2, 1.0, 1.0)
    _Report(tmp_path / "progress.json", os.getppid()).progress(step)
    assert Progress(**json.loads((tmp_path / "progress.json").read_text())) == step
    with pytest.raises(Stopped):
        _Report(tmp_path / "progress.json", -1).progress(step)


def test_without_an_encoder_there_is_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    assert embed_apart(["a"], "none", tmp_path) is None
    monkeypatch.setattr("papertune.screening.ranking.encoding.find_spec", lambda _: None)
    assert embed_apart(["a"], "auto", tmp_path) is None
