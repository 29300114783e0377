import errno
import os
from functools import partial

import pytest
from processes import BATCH_TOKENS

import papertune
from papertune import OutputError
from papertune.inference.predictor import Predictor

pytestmark = pytest.mark.once

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def run(trained):
    """Return a run that predicts in many batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("papertune.run.model.Predictor", partial(Predictor, max_batch_tokens=BATCH_TOKENS))
        yield papertune.load_run(trained.directory.path)


class Disk:
    """A replacement of os.fsync that counts its calls and raises from the n-th on, as if the disk were full."""

    def __init__(self):
        self.calls = 0
        self.full_from = None

    def __call__(self, descriptor):
        self.calls += 1
        if self.full_from is not None and self.calls >= self.full_from:
            raise DISK_FULL


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk)
    return disk


@pytest.fixture(scope="module")
def expected(run, sample, tmp_path_factory):
    """Predict without errors; return the bytes of the output and the number of fsync calls."""
    file, disk = tmp_path_factory.mktemp("expected") / "expected.csv", Disk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", disk)
        run.predict_file(sample.new, file, probabilities=True)
    return file.read_bytes(), disk.calls


# The header of the journal, its first and a later batch, its last batch, the table; -1 is the folder of the table.
@pytest.mark.parametrize("call", [1, 2, 12, -3, -2])
def test_a_full_disk_loses_no_finished_row(run, sample, disk, expected, tmp_path, call):
    content, calls = expected
    call = call if call > 0 else calls + 1 + call
    disk.full_from = call
    output, journal = tmp_path / "out.csv", tmp_path / "out.csv.journal"
    with pytest.raises(OutputError, match="No space left on device"):
        run.predict_file(sample.new, output, probabilities=True)
    assert not output.exists()
    assert not list(tmp_path.glob(".papertune-*"))
    # A batch whose values were written but not synced may be there too.
    finished = journal.read_bytes().count(b'{"batch"')
    assert finished - max(0, min(call, calls - 1) - 2) in (0, 1)
    disk.full_from = None
    predicted = run.predict_file(sample.new, output, probabilities=True)
    assert output.read_bytes() == content
    assert predicted.rows_begun <= sample.ROWS + 4
    assert not journal.exists()


def test_a_folder_that_cannot_be_synced_is_not_an_error(run, sample, disk, expected, tmp_path):
    content, calls = expected
    disk.full_from = calls
    run.predict_file(sample.new, tmp_path / "out.csv", probabilities=True)
    assert (tmp_path / "out.csv").read_bytes() == content


def test_a_writer_that_fails_halfway_leaves_no_output(run, sample, expected, tmp_path, monkeypatch):
    content, _ = expected
    import polars as pl

    def half(frame, file, **_):
        file.write(b"uuid,lab")
        raise DISK_FULL

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_csv", half)
        with pytest.raises(OutputError, match=r"out\.csv could not be written: No space left"):
            run.predict_file(sample.new, tmp_path / "out.csv", probabilities=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv.journal", "out.csv.lock"]
    monkeypatch.setattr(Predictor, "answer", None)  # nothing is left to compute
    run.predict_file(sample.new, tmp_path / "out.csv", probabilities=True)
    assert (tmp_path / "out.csv").read_bytes() == content
