"""The sources of a run, which several threads may ask."""

import json
import threading
from types import SimpleNamespace

from papertune.sources.label_sources import LabelSources


def test_sources_serve_one_thread_at_a_time(tmp_path):
    (tmp_path / "sources.json").write_text(json.dumps({"sources": ["words"], "questions": {}}), "utf-8")
    sources = LabelSources(tmp_path, None)
    asked, busy, together = threading.Event(), threading.Lock(), []

    def features(documents):
        together.append(not busy.acquire(blocking=False))
        asked.wait(0.1)  # the other thread asks meanwhile
        busy.release()
        return documents

    classifier = SimpleNamespace(log_probabilities=lambda documents: documents)
    sources._loaded["words"] = SimpleNamespace(features=features), {"?": classifier}
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(sources.log_probabilities([n], {"?": ["words"]})))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [False, False]
    assert sorted(each["?"]["words"] for each in found) == [[0], [1]]
