import pytest

from papertune.kinds.text.sentences import first_sentence, last_sentence, sentences, without_shared_beginning


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("We ran a trial. It failed! Why? Nobody knows.", ["We ran a trial.", "It failed!", "Why?", "Nobody knows."]),
        ("Doses were 3.5 mg. We see no effect", ["Doses were 3.5 mg.", "We see no effect"]),
        ("See Fig. 3 and Smith et al. They differ.", ["See Fig. 3 and Smith et al. They differ."]),
        ("J. R. Smith wrote (e.g. Here). Done.", ["J. R. Smith wrote (e.g. Here).", "Done."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        (
            "目的：研究肝癌。方法：随机试验！结果如何？“有效。”",
            ["目的：研究肝癌。", "方法：随机试验！", "结果如何？", "“有效。”"],
        ),
        ("A title\nAn abstract. Its end", ["A title", "An abstract.", "Its end"]),
        ("An end . of sorts. lower case goes on", ["An end . of sorts. lower case goes on"]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences(text, found):
    assert sentences(text) == found
    assert first_sentence(text) == (found[0] if found else "")
    assert last_sentence(text) == (found[-1] if found else "")


def test_words_of_the_template_are_not_part_of_a_sentence():
    documents = ["title: Aspirin: a trial\nabstract: We ran it.", "title: Bone: a study\nabstract: It broke."]
    assert without_shared_beginning(documents[:1], documents) == ["Aspirin: a trial\nabstract: We ran it."]
    # All documents begin with the same letter by chance.
    assert without_shared_beginning(
        ["abstract: We ran", "abstract: We saw"], ["abstract: We ran", "abstract: We saw"]
    ) == [
        "We ran",
        "We saw",
    ]
    assert without_shared_beginning(["We ran", "We saw"], ["We ran", "We saw"]) == ["We ran", "We saw"]
    assert without_shared_beginning(["摘要：甲", "摘要：乙"], ["摘要：甲", "摘要：乙"]) == ["甲", "乙"]
    # Of one text nobody can know.
    assert without_shared_beginning(["a: b"], ["a: b", "a: b"]) == ["a: b"]
    # A document that is the beginning of another.
    assert without_shared_beginning(["x: ", "x: y"], ["x: ", "x: y"]) == ["", "y"]
