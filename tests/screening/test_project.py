"""A screening on disk: decisions, undo, readers, new tables, samples, and who may open it."""

import threading

import pytest

from papertune.errors import OutputError, PapertuneError, ScreeningError
from papertune.screening import Decided, Noted, Project, Tagged, Undone
from papertune.screening.agreement import agreements, cohen_kappa, conflicts
from papertune.screening.progress import progress_lines

MORE = [
    {"id": "x", "title": "NUDGING doctors, by reminders -- on the screen!", "abstract": "", "doi": ""},
    {
        "id": "y",
        "title": "A new study of prompts for surgeons",
        "abstract": "Prompts.",
        "doi": "https://doi.org/10.1/Y",
    },
    {"id": "z", "title": "Something else entirely, but the same paper", "abstract": "", "doi": "doi:10.1/y"},
]


def raises(message):
    return pytest.raises(ScreeningError, match=f"^{message}$")


class TestDecisions:
    def test_they_are_there_again_after_closing(self, make):
        project = make()
        project.decide(0, "include")
        project.decide(1, "unsure")
        project.submit([
            Noted(id="n", reader="reader", record=1, text="check dose"),
            Tagged(id="t", reader="reader", record=1, tags=("dose", "later")),
        ])  # fmt: skip
        project.close()
        with Project(project.folder) as again:
            assert again.state.outcomes == {0: "include", 1: "unsure"}
            assert again.state.notes(1) == {"reader": "check dose"}
            assert again.state.tags(1) == ["dose", "later"]
            assert again.relevant() == {0: True}
            assert again.records.titles == project.records.titles

    def test_an_event_that_is_sent_twice_counts_once(self, make):
        project = make()
        event = Decided(id="e", reader="reader", record=2, verdict="include")
        project.submit([event, event])
        project.submit([event])
        assert (project.folder / "events.jsonl").read_text().count('"id":"e"') == 1

    def test_an_undo_brings_back_what_was_before(self, make):
        project = make()
        first, second = project.decide(0, "include"), project.decide(0, "exclude")
        project.undo(second.id)
        project.undo(second.id)
        assert project.state.outcomes == {0: "include"}
        project.undo(first.id)
        assert project.state.outcomes == {}
        assert list(project.state.history()) == []

    def test_a_decision_and_its_undo_can_come_together(self, make):
        project = make()
        event = Decided(id="e", reader="reader", record=2, verdict="include")
        project.submit([event, Undone(id="u", reader="reader", event="e")])
        assert project.state.outcomes == {}

    def test_what_does_not_fit_is_refused_whole(self, make):
        project = make(readers=("ann", "bo"))
        before = (project.folder / "events.jsonl").read_bytes()
        good = Decided(id="e", reader="ann", record=2, verdict="include")
        with raises(r"there is no record 7; the screening has 6\. Choose one of these\."):
            project.submit([good, Decided(id="f", reader="ann", record=6, verdict="include")])
        with raises(r'"q" is no decision, note or tag, so it cannot be undone\. Undo one of the history\.'):
            project.undo("q", "ann")
        with raises(
            r'there is no reader "an"\. Did you mean "ann"\? The readers are ann, bo\. Add the name to readers in '
            r"project\.json, or use one of these\."
        ):
            project.decide(0, "include", "an")
        with raises(r"tables and samples are not sent as events\. Use add and draw_sample\."):
            project.submit([project.added[0]])
        assert (project.folder / "events.jsonl").read_bytes() == before
        project.submit([good])
        with raises(r'"e" is by ann; bo cannot undo it\. Settle the conflict instead\.'):
            project.undo("e", "bo")

    def test_many_threads_lose_nothing(self, make):
        project = make()
        threads = [
            threading.Thread(target=lambda n=n: [project.decide(record, "include") for record in range(n, 6, 3)])
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        project.close()
        with Project(project.folder) as again:
            assert again.state.outcomes == dict.fromkeys(range(6), "include")


class TestReaders:
    def test_kappa_and_conflicts(self, make):
        project = make(readers=("ann", "bo"), readers_per_record=2)
        for record, (ann, bo) in enumerate([("include", "include"), ("include", "exclude"), ("exclude", "exclude"),
                                            ("exclude", "exclude"), ("unsure", "include")]):  # fmt: skip
            project.decide(record, ann, "ann")
            project.decide(record, bo, "bo")
        (agreement,) = agreements(project.state, project.settings.readers)
        # Observed 3 of 4, by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2.
        assert (agreement.records, agreement.kappa) == (4, 0.5)
        assert conflicts(project.state) == [1]
        project.decide(1, "exclude", "ann", settles=True)
        assert conflicts(project.state) == []
        assert project.state.outcomes == {0: "include", 1: "exclude", 2: "exclude", 3: "exclude", 4: "include"}
        assert agreements(project.state, project.settings.readers) == [agreement]

    @pytest.mark.parametrize(("cells", "kappa"), [((0, 0, 0, 0), None), ((5, 0, 0, 0), None), ((20, 5, 10, 15), 0.4)])
    def test_kappa_of_counts(self, cells, kappa):
        assert cohen_kappa(*cells) == (kappa if kappa is None else pytest.approx(kappa))

    def test_each_record_is_offered_to_as_many_readers_as_it_needs(self, make):
        project = make(readers=("ann", "bo", "cy"), readers_per_record=2)
        project.decide(0, "include", "ann")
        assert 0 not in [offer.record for offer in project.queue.next("ann", 9)]
        assert 0 in [offer.record for offer in project.queue.next("bo", 9)]
        project.decide(0, "include", "bo")
        assert 0 not in [offer.record for offer in project.queue.next("cy", 9)]


class TestTables:
    def test_new_results_are_matched_by_title_doi_and_id(self, make):
        project = make()
        project.close()
        with Project(project.folder) as project:
            project.change(doi="doi")
            added = project.add(MORE)
            assert added.duplicates == {0: 0, 2: 6}
            assert project.records.titles[6:] == ["A new study of prompts for surgeons"]
            assert project.records.dois == [""] * 6 + ["10.1/y"]
        with Project(project.folder) as again:
            assert again.state.total == 7
            assert again.record_number("y") == 6

    def test_the_same_id_of_another_paper_is_another_record(self, make):
        project = make()
        added = project.add(
            [
                {"id": "a", "title": "Fluid flow in porous media"},
                {"id": "b", "title": "Swimming of mice after second drug dose"},
            ]
        )
        assert added.duplicates == {1: 1}

    def test_a_name_of_a_record(self, make):
        project = make([*[{"id": "7", "title": f"Study {n}"} for n in range(2)], {"id": "", "title": "Other"}])
        assert project.record_number("3") == 2
        with raises(r'2 records have the id "7": the numbers 1, 2\. Name the number\.'):
            project.record_number("7")
        with raises(r'there is no record "9"\. Name an id, or a number from 1 to 3\.'):
            project.record_number("9")


class TestSamples:
    def test_a_sample_is_read_first_and_judged_at_its_end(self, make):
        project = make()
        with raises(r"no sample has been drawn, so there is nothing to judge\. Draw one first\."):
            project.certificate()
        project.decide(0, "include")
        project.decide(2, "include")
        drawn = project.draw_sample(4).records
        assert sorted(drawn) == [1, 3, 4, 5]
        assert [offer.record for offer in project.queue.next("reader", 4)] == list(drawn)
        assert {offer.reason for offer in project.queue.next("reader", 4)} == {"sample"}
        for record in drawn[:3]:
            project.decide(record, "exclude")
        with raises(
            r"1 records of the last sample have no decision yet\. Read them first: choosing among samples would make "
            r"the certificate worthless\."
        ):
            project.draw_sample(1)
        project.decide(drawn[3], "unsure")
        with raises(
            r"0 records that the sample or the reading before it covers have no decision, and 1 are unsure or in "
            r"conflict\. Decide these first\."
        ):
            project.certificate()
        project.decide(drawn[3], "exclude")
        done = project.certificate()
        assert (done.attempt, done.found, done.hits, done.unseen, done.size) == (1, 2, 0, 4, 4)
        assert (done.certified, done.lower_bound) == (True, 1.0)
        assert (
            progress_lines(project)[1]
            == "relevant records found: 1 after 1, 2 after 2, 2 after 4, 2 after 5, 2 after 6"
        )
        project.add(MORE)
        with raises(
            r"2 records were added after the sample was drawn, so it does not stand for them\. Draw another one\."
        ):
            project.certificate()

    def test_the_same_events_draw_the_same_sample(self, make):
        assert make(name="one").draw_sample(3).records == make(name="two").draw_sample(3).records

    def test_it_must_fit(self, make):
        with raises(r"a sample of 7 records cannot be drawn: 6 have no decision\. Choose a size from 1 to that\."):
            make().draw_sample(7)


class TestOpening:
    def test_a_second_process_is_refused(self, make):
        project = make()
        with raises(
            rf"{project.folder} is open in another process, such as papertune serve\. Close it there, or work there\."
        ):
            Project(project.folder)

    def test_any_thread_may_close_it(self, make):
        project = make()
        thread = threading.Thread(target=project.close)
        thread.start()
        thread.join()
        with Project(project.folder) as again:
            assert again.state.total == 6

    def test_a_folder_that_is_none(self, tmp_path):
        with raises(
            rf"{tmp_path} is no screening: there is no project\.json in it\. Make one: papertune screen import "
            rf"{tmp_path} TABLE"
        ):
            Project(tmp_path)

    def test_a_kill_before_the_first_table_was_added_leaves_an_empty_screening(self, make):
        project = make()
        project.close()
        (project.folder / "events.jsonl").unlink()
        with Project(project.folder) as again:
            assert (again.state.total, again.queue.next("reader", 3)) == (0, [])
            again.add([{"title": "A paper"}])
            assert again.state.total == 1

    def test_an_existing_folder_is_not_overwritten(self, make):
        make()
        with pytest.raises(OutputError, match=r"exists and is not empty\. Choose a new folder\.$"):
            make()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"readers_per_record": 2},
                "readers_per_record is 2, but there are 1 readers; name more readers, or lower it",
            ),
            ({"readers": ("a", "a")}, "readers: a name occurs twice; give each reader a name of their own"),
            ({"title": "Titel"}, 'there is no column "Titel". Did you mean "title"?'),
            ({"target": 1.5}, "target: Input should be less than or equal to 1"),
        ],
    )
    def test_settings_that_are_wrong(self, make, settings, message):
        with pytest.raises(PapertuneError) as caught:
            make(**settings)
        assert message in str(caught.value)
