"""What is read next: features, the machine, words for and against, near duplicates, the background thread."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune.evaluation.systems.elas_u4 import ElasU4, fit_machine, tfidf
from papertune.screening.ranking import prepared, queue
from papertune.screening.ranking.background import Latest
from papertune.screening.ranking.features import Features, make_features
from papertune.screening.ranking.prepared import group
from papertune.screening.ranking.ranker import rank
from papertune.screening.simulation.machine import fit_dual

TOPICS = ("mice swim drug water dose cage", "doctors nudge reminder order default screen")
DOCUMENTS = [" ".join(np.random.default_rng(n).choice(TOPICS[n % 2].split(), 5)) + f" w{n % 7}" for n in range(40)]
RELEVANT = np.arange(40) % 2 == 1


class TestRanker:
    def test_without_an_encoder_it_is_elas_u4(self):
        known = {record: bool(RELEVANT[record]) for record in range(10)}
        ranking = rank(make_features(DOCUMENTS), known)
        # The tf-idf of ElasU4 counts the words of all documents, as here.
        plain = ElasU4(DOCUMENTS[:10], RELEVANT[:10].tolist(), DOCUMENTS[10:])
        assert ranking.basis == "decisions"
        assert ranking.scores[10:] == pytest.approx(plain.scores, abs=1e-3)

    def test_the_same_decisions_make_the_same_order(self):
        features = make_features(DOCUMENTS)
        known = {record: bool(RELEVANT[record]) for record in (3, 8, 5, 20)}
        other_way = dict(reversed(known.items()))
        assert rank(features, known).order.tolist() == rank(features, other_way).order.tolist()

    def test_what_it_does_before_there_are_relevant_and_irrelevant_records(self):
        features = make_features(DOCUMENTS, "a nudge for doctors")
        assert rank(features, {}).basis == "criteria"
        assert set(rank(features, {0: False}).order[:10] % 2) == {1}
        assert rank(features, {1: True}).basis == "relevant records"
        assert set(rank(features, {1: True}).order[:10] % 2) == {1}
        chance = make_features(DOCUMENTS)
        assert rank(chance, {}, seed=1).basis == "chance"
        assert rank(chance, {}, seed=1).order.tolist() == rank(chance, {}, seed=1).order.tolist()
        assert rank(chance, {}, seed=1).order.tolist() != rank(chance, {}, seed=2).order.tolist()

    def test_words_speak_for_and_against(self):
        documents = ["doctors and the nudge", "mice of the swim", "doctors and the swim"]
        ranking = rank(make_features(documents), {0: True, 1: False})
        speak_for, against = ranking.words(2, documents[2])
        assert [word for word, _ in speak_for] == ["doctors"]
        assert [word for word, _ in against] == ["swim"]
        assert speak_for[0][1] > 0 > against[0][1]

    def test_with_an_encoder_stems_are_shown_as_the_document_has_them(self):
        vectors = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
        features = make_features(["Nudging doctors", "mice swim", "Nudges for swimming doctors, mice"], vectors=vectors)
        assert features.stemmed
        assert set(features.terms) == {"nudg", "doctor", "mice", "swim"}
        speak_for, against = rank(features, {0: True, 1: False}).words(2, "Nudges for swimming doctors, mice")
        assert {word for word, _ in speak_for} == {"nudges", "doctors"}
        assert {word for word, _ in against} == {"swimming", "mice"}

    def test_an_encoder_can_find_what_words_do_not(self):
        vectors = np.array([[1, 0], [0, 1], [1, 0.1], [0, 1], [0.1, 1]], dtype=np.float32)
        documents = ["alpha beta", "gamma delta", "epsilon zeta", "eta theta", "iota kappa"]
        assert rank(make_features(documents, vectors=vectors), {0: True, 1: False}).order[:2].tolist() == [0, 2]

    @pytest.mark.parametrize("documents", [["", ""], ["the", "the"], ["!", "?"], ["x", "y"], ["医学研究", "工学研究"]])
    def test_any_documents_can_be_ranked(self, documents):
        for known in ({}, {0: True}, {0: True, 1: False}):
            assert sorted(rank(make_features(documents), known).order) == [0, 1]


class TestFastMachine:
    @given(st.integers(2, 39), st.integers(0, 5))
    def test_it_ranks_as_scikit_learn_does(self, known, seed):
        rows = np.concatenate([[0, 1], 2 + np.random.default_rng(seed).permutation(38)[: known - 2]])
        features = tfidf(DOCUMENTS)
        products = (features @ features.T).toarray() + 1
        fast = fit_dual(products[np.ix_(rows, rows)], RELEVANT[rows], np.zeros(known)) @ products[rows]
        plain = fit_machine(features[rows], RELEVANT[rows]).decision_function(features)
        assert fast == pytest.approx(plain, abs=2e-3)

    def test_the_start_does_not_matter(self):
        features = tfidf(DOCUMENTS)
        products = (features @ features.T).toarray() + 1
        found = [fit_dual(products, RELEVANT, start) for start in (np.zeros(40), np.full(40, 3.0))]
        assert found[0] == pytest.approx(found[1], abs=1e-8)


class TestQueue:
    def test_the_most_useful_record_is_first(self, make):
        project = make()
        project.decide(0, "include")
        project.decide(1, "exclude")
        assert project.queue.wait()
        assert project.queue.ranking.basis == "decisions"
        offers = project.queue.next("reader", 9)
        assert {offer.record for offer in offers[:2]} == {2, 4}
        assert {offer.record for offer in offers} == {2, 3, 4, 5}

    def test_near_duplicates_stand_together(self, make):
        text = "we study how reminders on the screen change what doctors order in twelve hospitals of three countries"
        rows = [{"title": f"Paper {word}", "abstract": ""} for word in ("alpha", "beta", "gamma")]
        rows[0]["abstract"], rows[2]["abstract"] = text, f"{text} again"
        project = make(rows)
        project.queue.wait()
        offers = [(offer.record, offer.reason) for offer in project.queue.next("reader", 3)]
        places = [record for record, _ in offers]
        assert abs(places.index(0) - places.index(2)) == 1
        assert [reason for record, reason in offers if reason == "near duplicate"] == ["near duplicate"]

    def test_groups_join_what_is_similar_to_the_same_document(self):
        text = "one two three four five six seven eight nine ten"
        assert group([text, "other", text + " eleven", text]) == {0: (0, 2, 3), 2: (0, 2, 3), 3: (0, 2, 3)}

    def test_new_records_and_criteria_are_ranked_even_if_features_are_being_computed(self, make, monkeypatch):
        plain, begun, go = make_features, threading.Event(), threading.Event()

        def slow(*given):
            begun.set()
            go.wait(60)
            return plain(*given)

        monkeypatch.setattr(prepared, "make_features", slow)
        project = make()
        begun.wait(60)
        project.add([{"title": "Reminders again, in another hospital", "abstract": ""}])
        project.change(include=("cages of mice",))
        go.set()
        project.queue.wait()
        assert len(project.queue.ranking.features) == 7
        assert (project.queue.ranking.basis, project.queue.ranking.order[0]) == ("criteria", 5)

    def test_vectors_of_an_encoder_come_later(self, make, monkeypatch):
        go = threading.Event()

        def embed(documents, *_):
            go.wait(60)
            return np.eye(len(documents), dtype=np.float32)

        monkeypatch.setattr(queue, "embed_apart", embed)
        project = make()
        project.queue.wait(vectors=False)
        assert not project.queue.ranking.features.stemmed
        go.set()
        project.queue.wait()
        assert project.queue.ranking.features.stemmed


class TestBackground:
    def test_requests_during_a_computation_are_answered_by_one_more(self):
        begun, go, computed = threading.Event(), threading.Event(), []

        def compute():
            begun.set()
            go.wait(60)
            computed.append(len(computed))
            return computed[-1]

        latest = Latest(compute)
        latest.request()
        begun.wait(60)
        for _ in range(5):
            latest.request()
        assert not latest.wait(0.01)
        go.set()
        assert latest.wait(60)
        assert (latest.result, computed) == (1, [0, 1])
        latest.close()

    def test_an_error_is_kept_and_the_next_request_is_answered(self):
        answers = iter([ValueError("x"), 5])

        def compute():
            if isinstance(answer := next(answers), Exception):
                raise answer
            return answer

        latest = Latest(compute)
        latest.request()
        assert latest.wait(60)
        assert str(latest.error) == "x"
        latest.request()
        assert latest.wait(60)
        assert (latest.result, latest.error) == (5, None)
        latest.close()


def test_a_ranking_without_features_keeps_the_order():
    from scipy.sparse import csr_matrix

    features = Features(csr_matrix((3, 0)), np.zeros(0, dtype=np.str_))
    assert rank(features, {0: True, 1: False}).words(0, "") == ([], [])
