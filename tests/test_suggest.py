import pytest

from papertune.suggest import did_you_mean


@pytest.mark.parametrize(
    ("word", "suggested"),
    [("phsyics", "Physics"), (" PHYSICS ", "Physics"), ("biologie", "biology"), ("TITLE", "title "), ("0", "0")],
)
def test_the_nearest_word_is_suggested(word, suggested):
    assert did_you_mean(word, ["Physics", "biology", "title ", "0"]) == f' Did you mean "{suggested}"?'


@pytest.mark.parametrize("word", ["history", ""])
def test_nothing_is_suggested_where_no_word_is_near(word):
    assert did_you_mean(word, ["Physics", "biology"]) == ""
    assert did_you_mean(word, []) == ""
