import json
import random
import re
import shutil
import signal
import time
from functools import partial

import pytest
from processes import BATCH_TOKENS, Command, die_at, limit_file_size, lines, slow_batches, small_batches

import papertune
from papertune import OutputError
from papertune.inference.journal import Journal
from papertune.inference.predictor import Predictor

KILLS = 20


class Prediction:
    """A `papertune predict` command that can be started repeatedly."""

    def __init__(self, sample, run, folder):
        self.sample = sample
        self.run = run
        self.output = folder / "out.csv"
        self.journal = folder / "out.csv.journal"
        self.lock = folder / "out.csv.lock"

    def start(self, *patches):
        arguments = ["predict", self.run.directory.path, self.sample.new, "-o", self.output, "--probabilities"]
        return Command(arguments, small_batches, *patches)

    def rows_begun(self, command):
        """Return how many rows have gone through the model, from the last line of the output."""
        ((rows, begun),) = re.findall(r"out\.csv: (\d+) rows \((\d+) went through the model\)", command.printed)
        assert int(rows) == self.sample.ROWS
        return int(begun)

    def is_tidy(self):
        return not self.journal.exists() and not self.lock.exists()


@pytest.fixture
def prediction(sample, trained, tmp_path):
    return Prediction(sample, trained, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(sample, trained, tmp_path_factory):
    """Return a finished prediction with its complete journal."""
    prediction = Prediction(sample, trained, tmp_path_factory.mktemp("undisturbed"))
    # A finished prediction removes its journal; a kill right before that keeps it.
    command = prediction.start(partial(die_at, "papertune.inference.journal:Journal", "remove"))
    assert command.end() == -signal.SIGKILL
    prediction.complete_journal = prediction.journal.read_bytes()
    header, *entries = [json.loads(line) for line in prediction.complete_journal.splitlines()]
    prediction.batches = header["batches"]
    prediction.max_rows = max(entry["rows"] for entry in entries if "begin" in entry)
    assert prediction.batches >= 25
    assert prediction.max_rows >= 2
    return prediction


@pytest.mark.once
@pytest.mark.slow
def test_prediction_killed_twenty_times_writes_the_same_bytes(prediction, undisturbed):
    chance = random.Random(20)
    for number in range(KILLS):
        before = lines(prediction.journal)
        command = prediction.start(slow_batches)
        # A journal has two lines per batch, so some kills are during a batch and some after one.
        more = chance.choice((1, 2))
        assert command.wait_for(lambda before=before, more=more: lines(prediction.journal) >= before + more)
        time.sleep(chance.uniform(0, 0.03))
        command.send(signal.SIGKILL)
        assert command.end() == -signal.SIGKILL, f"it ended before kill {number + 1}: {command.printed}"
        assert not prediction.output.exists()
    command = prediction.start()
    assert command.end() == 0, command.printed
    assert prediction.output.read_bytes() == undisturbed.output.read_bytes()
    begun = prediction.rows_begun(command)
    assert prediction.sample.ROWS <= begun <= prediction.sample.ROWS + KILLS * undisturbed.max_rows
    assert "resuming:" in command.printed
    assert prediction.is_tidy()


# In each precision: one kill in the middle of the rows.
@pytest.mark.parametrize(
    ("module", "name", "count", "after"),
    [
        pytest.param("os", "fsync", 1, False, marks=pytest.mark.once),  # the first line of the journal
        ("os", "fsync", 5, False),  # written, but perhaps not on the disk
        pytest.param("pathlib:Path", "replace", 1, False, marks=pytest.mark.once),  # the output has a temporary name
        pytest.param("pathlib:Path", "replace", 1, True, marks=pytest.mark.once),  # both output and journal exist
        pytest.param("papertune.inference.journal:Journal", "remove", 1, False, marks=pytest.mark.once),
    ],
)
def test_prediction_killed_while_writing_resumes(prediction, undisturbed, module, name, count, after):
    assert prediction.start(partial(die_at, module, name, count, after)).end() == -signal.SIGKILL
    begun_before = prediction.journal.read_bytes().count(b'"begin"')
    command = prediction.start()
    assert command.end() == 0, command.printed
    assert prediction.output.read_bytes() == undisturbed.output.read_bytes()
    assert prediction.is_tidy()
    if begun_before == undisturbed.batches:  # no batch was left
        assert prediction.rows_begun(command) == prediction.sample.ROWS


@pytest.mark.once
def test_prediction_killed_between_removing_journal_and_lock_is_complete(prediction, undisturbed):
    assert prediction.start(partial(die_at, "pathlib:Path", "unlink", 2, True)).end() == -signal.SIGKILL
    assert not prediction.journal.exists()
    assert prediction.output.read_bytes() == undisturbed.output.read_bytes()
    command = prediction.start()
    assert command.end() == 2
    assert "exists already" in command.printed


@pytest.mark.once
def test_a_second_writer_is_refused(prediction, undisturbed):
    first = prediction.start(slow_batches)
    assert first.wait_for(lambda: lines(prediction.journal) >= 4)
    first.send(signal.SIGSTOP)
    try:
        held = prediction.journal.read_bytes()
        second = prediction.start()
        assert second.end() == 2
        assert "error: " in second.printed
        assert "is being written by another papertune process" in second.printed
        assert "Traceback" not in second.printed
        assert prediction.journal.read_bytes() == held
    finally:
        first.send(signal.SIGCONT)
    assert first.end() == 0
    assert prediction.output.read_bytes() == undisturbed.output.read_bytes()
    assert prediction.rows_begun(first) == prediction.sample.ROWS
    assert prediction.is_tidy()


@pytest.mark.once
@pytest.mark.parametrize("limit", [30, 1000, 4000])
def test_prediction_on_a_full_disk_resumes(prediction, undisturbed, limit):
    command = prediction.start(partial(limit_file_size, limit))
    assert command.end() == 2
    assert command.printed.count("error: ") == 1
    assert "Traceback" not in command.printed
    assert not prediction.output.exists()
    written = prediction.journal.read_bytes() if prediction.journal.exists() else b""
    finished = sum(line.startswith(b'{"batch"') and line.endswith(b"\n") for line in written.splitlines(keepends=True))
    command = prediction.start()
    assert command.end() == 0, command.printed
    assert ("resuming:" in command.printed) == (finished > 0)
    assert prediction.output.read_bytes() == undisturbed.output.read_bytes()


@pytest.mark.once
class TestIncompleteLastLine:
    def places(self, journal):
        """Return every length within the last two lines: the start of a batch, and its values."""
        *_, start, _, end = [m.end() for m in re.finditer(b"\n", journal)]
        return range(start, end + 1)

    def test_an_incomplete_last_line_is_dropped(self, undisturbed, tmp_path):
        journal = undisturbed.complete_journal
        fingerprint = json.loads(journal.splitlines()[0])["fingerprint"]
        last = json.loads(journal.splitlines()[-1])
        for length in self.places(journal):
            (tmp_path / "out.csv.journal").write_bytes(journal[:length])
            with Journal(tmp_path / "out.csv", fingerprint, undisturbed.batches) as opened:
                complete = length == len(journal)
                assert opened.finished.sum() == undisturbed.batches - (not complete)
                assert opened.finished[last["batch"]] == complete
                if not complete:
                    opened.begin(last["batch"], [0])
                    opened.finish(last["batch"], last["values"])
            with Journal(tmp_path / "out.csv", fingerprint, undisturbed.batches) as opened:
                assert opened.finished.all()
                assert opened.read(last["batch"]) == last["values"]

    def test_rows_of_an_incomplete_last_line_are_predicted_again(
        self, undisturbed, trained, sample, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(
            "papertune.run.model.Predictor",
            partial(Predictor, max_batch_tokens=BATCH_TOKENS),
        )
        run = papertune.load_run(trained.directory.path)
        places = self.places(undisturbed.complete_journal)
        for length in places[:: len(places) // 12]:
            (tmp_path / "out.csv.journal").write_bytes(undisturbed.complete_journal[:length])
            run.predict_file(sample.new, tmp_path / "out.csv", probabilities=True)
            assert (tmp_path / "out.csv").read_bytes() == undisturbed.output.read_bytes()
            (tmp_path / "out.csv").unlink()

    def test_an_incomplete_header_starts_a_new_journal(self, undisturbed, tmp_path):
        header = undisturbed.complete_journal.splitlines(keepends=True)[0]
        fingerprint, facts = (json.loads(header)[key] for key in ("fingerprint", "facts"))
        for length in range(len(header)):
            (tmp_path / "out.csv.journal").write_bytes(header[:length])
            with Journal(tmp_path / "out.csv", fingerprint, undisturbed.batches, facts) as opened:
                assert not opened.finished.any()
            assert (tmp_path / "out.csv.journal").read_bytes() == header


@pytest.mark.once
def test_a_journal_that_was_copied_elsewhere_is_refused(undisturbed, tmp_path):
    shutil.copy(undisturbed.journal, tmp_path / "other.csv.journal")
    with (
        pytest.raises(OutputError, match="keeps the rows of another prediction"),
        Journal(tmp_path / "other.csv", "another", 3),
    ):
        pass
    assert (tmp_path / "other.csv.journal").read_bytes() == undisturbed.complete_journal
    assert not (tmp_path / "other.csv.lock").exists()
