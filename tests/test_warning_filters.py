"""Threads that change the filters of warnings at the same time."""

import threading
import warnings

from papertune.errors import PapertuneWarning
from papertune.serve.collecting import collected_warnings
from papertune.warning_filters import changed_filters


def test_what_a_thread_collects_is_its_own_while_another_one_comes_and_goes(recwarn):
    filters, show = list(warnings.filters), warnings.showwarning
    began, may_end = threading.Event(), threading.Event()
    found = []

    def other():
        with changed_filters():
            warnings.simplefilter("ignore", UserWarning)
            began.set()
            assert may_end.wait(20)
            with collected_warnings() as texts:
                warnings.warn("of the other", PapertuneWarning, stacklevel=1)
            found.append(texts)

    thread = threading.Thread(target=other)
    thread.start()
    assert began.wait(20)
    with collected_warnings() as outer:
        warnings.warn("first", PapertuneWarning, stacklevel=1)
        with collected_warnings() as inner:
            may_end.set()
            thread.join()
            warnings.warn("second", PapertuneWarning, stacklevel=1)
        warnings.warn("third", PapertuneWarning, stacklevel=1)
    assert (outer, inner, found) == (["first", "third"], ["second"], [["of the other"]])
    assert (warnings.filters, warnings.showwarning) == (filters, show)
    warnings.warn("nobody collects it", PapertuneWarning, stacklevel=1)
    assert [str(each.message) for each in recwarn] == ["nobody collects it"]
