import numpy as np
import pytest

from papertune.sources.fitting.kept_rows import KeptRows


def vectors(documents):
    return np.array([[len(document), ord(document[0]), 0.5] for document in documents], dtype=np.float32)


DOCUMENTS = [chr(97 + number % 26) * (number + 1) for number in range(40)]


def test_what_a_killed_call_has_made_is_not_made_again(tmp_path):
    calls = []

    def dying(documents):
        calls.append(len(documents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return vectors(documents)

    kept = KeptRows.of(tmp_path, "vectors", 3)
    with pytest.raises(KeyboardInterrupt):
        kept.complete(DOCUMENTS, dying)
    with kept.path.open("ab") as stream:
        stream.write(b"half")  # a kill in the middle of a write
    made = []

    def counting(documents):
        made.extend(documents)
        return vectors(documents)

    found = kept.complete(DOCUMENTS, counting)
    assert np.array_equal(found, vectors(DOCUMENTS))
    assert made == DOCUMENTS[32:]
    assert np.array_equal(kept.complete(DOCUMENTS, dying), found)  # complete: nothing is made
    assert len(calls) == 3


def test_without_a_folder_nothing_is_kept(tmp_path, listener):
    found = KeptRows.of(None, "vectors", 3).complete(DOCUMENTS, vectors, listener)
    assert np.array_equal(found, vectors(DOCUMENTS))
    assert list(tmp_path.iterdir()) == []
    assert [step.done for step in listener.steps] == [16, 32, 40]
