import pytest
from hypothesis import given
from hypothesis import strategies as st

from papertune import read_table


def decisions(*notes, column="notes"):
    table = read_table([{"title": "t", column: note} for note in notes])
    return {name: table.frame[name].to_list() for name in table.derived}


@pytest.mark.parametrize(
    ("note", "decision"),
    [
        ('RAYYAN-INCLUSION: {"Ann"=>"Included"}', "Included"),
        ('RAYYAN-INCLUSION: {"Ann"=>"Excluded", "Bob B"=>"Excluded"} | RAYYAN-LABELS: a,{b}', "Excluded"),
        ('RAYYAN-INCLUSION: {"Ann"=>"Included", "Bob"=>"Maybe"}', "Undecided"),
        ('see p. 3; RAYYAN-INCLUSION: {"Ann \\"A\\""=&gt;"Maybe"}', "Maybe"),
        ("RAYYAN-LABELS: rct", ""),
        ("RAYYAN-INCLUSION: {}", ""),
    ],
)
def test_decisions_of_rayyan_are_read_from_notes(note, decision):
    found = decisions(note, 'RAYYAN-INCLUSION: {"Ann"=>"Included"}', "")
    assert found == {"rayyan_inclusion": [decision, "Included", ""]}


def test_decisions_of_asreview_are_read_from_notes():
    found = decisions("ASReview_relevant", "read; ASReview_irrelevant", "asreview_not_seen", "", column="N1 Notes")
    assert found == {"asreview_label": ["1", "0", "-1", ""]}
    both = "ASReview_relevant; ASReview_irrelevant"
    assert decisions(both, "ASReview_relevant") == {"asreview_label": ["", "1"]}


def test_a_column_that_is_there_stays():
    rows = [{"notes": 'RAYYAN-INCLUSION: {"Ann"=>"Included"}', "rayyan_inclusion": "Excluded"}]
    table = read_table(rows)
    assert table.columns == ["notes", "rayyan_inclusion"]
    assert table.frame["rayyan_inclusion"].to_list() == ["Excluded"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=3))
def test_any_other_notes_derive_nothing(notes):
    assert decisions(*notes) == {}


@given(st.text(st.characters(codec="utf-8", exclude_characters='\0"\\{}')), st.sampled_from(["Included", "Excluded"]))
def test_any_reviewer_is_read(reviewer, decision):
    assert decisions(f'RAYYAN-INCLUSION: {{"{reviewer}"=>"{decision}"}}') == {"rayyan_inclusion": [decision]}
