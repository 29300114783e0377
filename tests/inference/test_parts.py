"""A table in Parquet parts: filled in as one table would be, by several processes, with kills in between."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import papertune
from papertune.errors import OutputError, PapertuneWarning, TableError
from papertune.inference.parts import part as part_module
from papertune.inference.parts import predict_parts
from papertune.inference.parts.part import Part, _pieces
from papertune.inference.parts.shard import Shard
from papertune.inference.predict import Predicted

RECIPE = """
model = {model}
[table]
document = "{{title}}"
[columns.label]
kind = "label"
question = "Is it medical? Answer 1 or 0."
labels = ["1", "0"]
sources = ["words"]
"""


@pytest.fixture(scope="module")
def words_run(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(model=json.dumps(str(tiny_folder))), "utf-8")
    rows = [
        {"title": f"{word} {n}", "label": label} for n in range(30) for word, label in (("heart", "1"), ("net", "0"))
    ]
    return papertune.train(rows, recipe, folder / "run")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Return three parts in row groups of ten rows, of which two are a piece."""
    monkeypatch.setattr(part_module, "PIECE_ROWS", 20)
    (tmp_path / "parts").mkdir()
    return [write(tmp_path / "parts" / f"{name}.parquet", rows) for name, rows in (("a", 45), ("b", 20), ("c", 7))]


def write(path, rows, **columns):
    titles = [f"{'heart' if n % 3 else 'net'} {path.stem} {n}" for n in range(rows)]
    pl.DataFrame({"title": titles, **columns}).write_parquet(path, row_group_size=10)
    return path


def test_the_parts_are_filled_in_as_whole_tables_are(words_run, parts, tmp_path, listener):
    done = words_run.predict_parts(parts, tmp_path / "out", probabilities=True, listener=listener)
    assert (done.parts, done.parts_before, done.rows) == (3, 0, 72)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a.parquet", "b.parquet", "c.parquet"]
    for part in parts:
        words_run.predict_file(part, tmp_path / "whole.parquet", probabilities=True, overwrite=True)
        whole = pl.read_parquet(tmp_path / "whole.parquet")
        assert pl.read_parquet(tmp_path / "out" / part.name).equals(whole)  # the row numbers too
    steps = [step.done for step in listener.steps]
    assert steps == sorted(steps)
    assert steps[-1] == listener.steps[-1].total == 72


def test_what_is_finished_is_skipped_and_what_is_half_done_goes_on(words_run, parts, tmp_path, monkeypatch):
    words_run.predict_parts(parts, tmp_path / "straight")
    real, calls = part_module.move_into_place, []

    def killed(complete, target):
        calls.append(target.name)
        raise KeyboardInterrupt

    words_run.predict_parts(parts[1:2], tmp_path / "out")
    written = (tmp_path / "out" / "b.parquet").stat().st_mtime_ns
    monkeypatch.setattr(part_module, "move_into_place", killed)
    with pytest.raises(KeyboardInterrupt):
        words_run.predict_parts(parts, tmp_path / "out")
    partial = tmp_path / "out" / "a.parquet.partial"
    assert calls == ["a.parquet"]
    kept = {each.name: each.stat().st_mtime_ns for each in partial.glob("*.parquet")}
    assert sorted(kept) == ["00000000.parquet", "00000001.parquet", "00000002.parquet"]
    (partial / "00000001.parquet").unlink()  # as if the kill had come earlier
    monkeypatch.setattr(part_module, "move_into_place", real)
    seen = []
    finish = Part.finish
    monkeypatch.setattr(
        Part,
        "finish",
        lambda part, facts: (
            seen.extend(f for f, time in kept.items() if _time(part.partial / f) == time),
            finish(part, facts),
        ),
    )
    done = words_run.predict_parts(parts, tmp_path / "out")
    assert (done.parts, done.parts_before) == (3, 1)
    assert seen == ["00000000.parquet", "00000002.parquet"]
    assert (tmp_path / "out" / "b.parquet").stat().st_mtime_ns == written
    for part in parts:
        assert (tmp_path / "out" / part.name).read_bytes() == (tmp_path / "straight" / part.name).read_bytes()
    assert len([*(tmp_path / "out").iterdir()]) == 3


def test_a_kill_at_the_very_end_leaves_nothing(words_run, parts, tmp_path, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(part_module.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            words_run.predict_parts(parts[2:], tmp_path / "out")
    assert (tmp_path / "out" / "c.parquet.partial").is_dir()
    assert words_run.predict_parts(parts[2:], tmp_path / "out").parts_before == 1
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["c.parquet"]


def test_rows_of_another_prediction_stay_beside_a_finished_part(words_run, parts, tmp_path):
    words_run.predict_parts(parts[2:], tmp_path / "out")
    partial = tmp_path / "out" / "c.parquet.partial"
    partial.mkdir()
    (partial / "facts.json").write_text("{}")
    words_run.predict_parts(parts[2:], tmp_path / "out")
    assert (partial / "facts.json").is_file()


def _time(path):
    return path.stat().st_mtime_ns if path.exists() else None


def test_shards_share_the_parts_without_overlap(words_run, parts, tmp_path):
    counts = [words_run.predict_parts(reversed(parts), tmp_path / "out", shard=(n, 5)).parts for n in range(1, 6)]
    assert counts == [1, 1, 1, 0, 0]
    assert len([*(tmp_path / "out").iterdir()]) == 3


def test_each_part_belongs_to_exactly_one_shard(tmp_path):
    names = [tmp_path / f"{n:03}.parquet" for n in range(17)]
    shares = [Shard(number, 4).share(names) for number in range(1, 5)]
    assert sorted(name for share in shares for name in share) == names
    assert max(map(len, shares)) - min(map(len, shares)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9/8", 'shard 9/8 does not exist: they are numbered from 1 to 8. For example "1/8".'),
        ("0/8", 'shard 0/8 does not exist: they are numbered from 1 to 8. For example "1/8".'),
        ("0/0", 'shard 0/0 does not exist: they are numbered from 1 to 0. For example "1/1".'),
        ("3", '--shard "3" is not NUMBER/COUNT. For example "3/8", the third of eight.'),
        ("-1/8", '--shard "-1/8" is not NUMBER/COUNT. For example "3/8", the third of eight.'),
    ],
)
def test_a_wrong_shard_is_refused(text, message):
    with pytest.raises(TableError) as caught:
        Shard.parse(text)
    assert str(caught.value) == message


@settings(max_examples=50)
@given(st.text(max_size=12) | st.from_regex(r"[0-9]{0,3}/[0-9]{0,3}", fullmatch=True))
def test_any_text_is_a_shard_or_an_error(text):
    try:
        shard = Shard.parse(text)
    except TableError:
        return
    assert 1 <= shard.number <= shard.count
    assert Shard.parse(str(shard)) == shard


def test_a_part_that_is_not_there_ends_every_shard(words_run, parts, tmp_path):
    """A pattern of the shell that finds nothing is handed on as it is, to all shards."""
    for number in (1, 2):
        with pytest.raises(TableError) as caught:
            words_run.predict_parts([tmp_path / "*.parquet"], tmp_path / "out", shard=(number, 2))
        assert str(caught.value) == (
            f"{tmp_path / '*.parquet'} cannot be read: No such file or directory. Check the path and the disk."
        )


def test_an_error_names_the_part_and_its_row(words_run, parts, tmp_path):
    cells = ["x"] * 30
    cells[25] = "x\0"
    write(parts[0], 30, note=cells)
    with pytest.raises(TableError) as caught:
        words_run.predict_parts(parts, tmp_path / "out")
    assert str(caught.value).startswith(f'{parts[0]}, row 26, column "note": the cell has a NUL character')


def test_a_warning_names_the_part_and_is_given_once(words_run, parts, tmp_path):
    write(parts[0], 45, label=["1"] * 45, label_given=["0"] * 45)
    with pytest.warns(PapertuneWarning) as caught:
        words_run.predict_parts(parts[:1], tmp_path / "out")
    texts = [str(each.message) for each in caught if "was filled in before" in str(each.message)]
    assert len(texts) == 1  # for three pieces
    assert texts[0].startswith(f"{parts[0]} was filled in before")
    assert {each.filename for each in caught} == {__file__}


def test_pieces_with_other_columns_are_an_error_that_stays(words_run, parts, tmp_path, monkeypatch):
    def fill_in(run, table, file, options, listener):
        more = {} if table.number(0) == 1 else {"more": "x"}
        pl.DataFrame({"label": ["1"] * len(table), **more}).write_parquet(file)
        return Predicted({}, len(table), len(table))

    monkeypatch.setattr(predict_parts, "predict_file", fill_in)
    for _ in range(2):  # the piece that is on disk now is looked at too
        with pytest.raises(TableError) as caught:
            words_run.predict_parts(parts, tmp_path / "out")
        assert str(caught.value) == (
            f"{parts[0]}, rows 21 to 40: the output has other columns here than in the rows before (more). Name the "
            "columns to write with --columns."
        )


def test_an_output_of_other_options_is_not_skipped(words_run, parts, tmp_path):
    words_run.predict_parts(parts[2:], tmp_path / "out")
    with pytest.raises(OutputError) as caught:
        words_run.predict_parts(parts[2:], tmp_path / "out", probabilities=True)
    there = tmp_path / "out" / "c.parquet"
    assert str(caught.value) == (
        f"{there} exists and is another prediction (--probabilities: False before, now True). Add --overwrite to "
        "replace it, or choose another folder."
    )
    words_run.predict_parts(parts[2:], tmp_path / "out", probabilities=True, overwrite=True)
    assert "label_probability_1" in pl.read_parquet_schema(there)


def test_a_part_that_has_changed_is_not_skipped(words_run, parts, tmp_path):
    words_run.predict_parts(parts[2:], tmp_path / "out")
    write(parts[2], 9)
    with pytest.raises(OutputError, match="is another prediction"):
        words_run.predict_parts(parts[2:], tmp_path / "out")


def test_a_file_of_another_program_is_not_replaced(words_run, parts, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.parquet").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is not from this command"):
        words_run.predict_parts(parts[2:], tmp_path / "out")
    assert (tmp_path / "out" / "c.parquet").read_bytes() == b"mine"


def test_a_folder_in_the_place_of_a_part_is_found_before_the_work(words_run, parts, tmp_path):
    there = tmp_path / "out" / "c.parquet"
    there.mkdir(parents=True)
    with pytest.raises(OutputError) as caught:
        words_run.predict_parts(parts[2:], tmp_path / "out", overwrite=True)
    assert str(caught.value) == f"{there} is a folder. Move it away, or choose another folder for the parts."


@pytest.mark.parametrize("content", ["[]", "{", "1"])
def test_damaged_facts_are_an_error_with_a_remedy(words_run, parts, tmp_path, content):
    partial = tmp_path / "out" / "c.parquet.partial"
    partial.mkdir(parents=True)
    (partial / "facts.json").write_text(content)
    with pytest.raises(OutputError) as caught:
        words_run.predict_parts(parts[2:], tmp_path / "out")
    assert str(caught.value) == (
        f"{partial / 'facts.json'} is damaged. Delete {partial}; its rows are then predicted again."
    )


def test_what_cannot_be_parts(words_run, parts, tmp_path):
    def refused(paths, folder=tmp_path / "out"):
        with pytest.raises(papertune.PapertuneError) as caught:
            words_run.predict_parts(paths, folder)
        return str(caught.value).replace(str(tmp_path), "HERE")

    assert refused(parts, tmp_path / "parts") == (
        "HERE/parts/a.parquet lies in HERE/parts, so it would be replaced. Choose another folder."
    )
    assert refused(parts, tmp_path / "out.parquet") == (
        "HERE/out.parquet: parts go into a folder, not into a file. Name a folder, such as out."
    )
    assert refused([tmp_path / "x.csv", parts[0]]) == (
        "HERE/x.csv is no .parquet file; several tables are filled in only as Parquet parts."
    )
    (tmp_path / "more").mkdir()
    assert refused([*parts, write(tmp_path / "more" / "A.parquet", 3)]) == (
        "HERE/more/A.parquet has the same name as HERE/parts/a.parquet, so their outputs would be the same file."
    )
    assert refused([tmp_path / "d.parquet"]) == (
        "HERE/d.parquet cannot be read: No such file or directory. Check the path and the disk."
    )
    assert refused([write(tmp_path / "e.parquet", 0)]) == "HERE/e.parquet has no rows. Leave it out."
    assert not (tmp_path / "out").exists()


def test_a_part_that_another_process_writes_is_left_alone(words_run, parts, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / "a.parquet.lock"), pytest.raises(OutputError) as caught:
        words_run.predict_parts(parts, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'out' / 'a.parquet'} is being written by another papertune process. Give each process a shard of "
        "its own."
    )


@pytest.mark.parametrize(
    ("groups", "pieces"),
    [([10, 10, 10, 10, 5], [20, 20, 5]), ([7], [7]), ([50, 1], [50, 1]), ([3, 0, 30, 2], [33, 2]), ([20, 0], [20])],
)
def test_pieces_are_whole_row_groups(groups, pieces, monkeypatch):
    monkeypatch.setattr(part_module, "PIECE_ROWS", 20)
    found = _pieces(groups)
    assert [len(each) for each in found] == pieces
    assert [row for each in found for row in each] == [*range(sum(groups))]
