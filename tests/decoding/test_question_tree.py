from hypothesis import given
from hypothesis import strategies as st

from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.decoding.scoring.question_tree import QuestionTree, split_questions


def test_a_tree_shares_the_common_beginning_of_questions():
    trie = LabelTrie.build([[5, 6], [7]], end_id=9)  # several tokens: two inner nodes
    single = LabelTrie.build([[5], [7]], end_id=9)
    tree = QuestionTree.build([([1, 2], trie), ([1, 3], single)])
    assert tree.tokens == (1, 2, 5, 6, 7, 3)
    assert tree.parents == (-1, 0, 1, 2, 1, 0)
    assert tree.depths == (1, 2, 3, 4, 3, 2)
    assert (tree.roots, tree.inner) == ((1, 5), ((2, 3, 4), ()))
    assert tree.wanted == [1, 2, 3, 4, 5]
    assert tree.ancestors()[4].tolist() == [True, True, False, False, True, False]


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 12))
def test_parts_are_as_large_as_the_limit_allows(questions, max_tokens):
    tries = [LabelTrie.build([[5, 6], [7]], end_id=9)] * len(questions)
    sizes = [len(ids) + 3 for ids in questions]
    parts = split_questions(questions, tries, max_tokens)
    assert [index for part in parts for index in part] == list(range(len(questions)))
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        total = sum(sizes[index] for index in part)
        assert len(part) == 1 or total <= max_tokens
        assert following is None or total + sizes[following[0]] > max_tokens
