"""The benchmark of serving at tiny size. Its times mean nothing here."""

import argparse

import pytest

pytest.importorskip("fastapi")

import papertune
import serve

pytestmark = [pytest.mark.slow, pytest.mark.once]


def test_both_checks_are_measured(tiny_folder, tmp_path, capsys, monkeypatch):
    """The server is one of this process, and so is what fills in the table."""
    settings = [
        f"model={tiny_folder}",
        "training.max_steps=1",
        "training.precision=fp32",
        "columns.label.sources=['model']",
    ]
    table = papertune.read_table(str(serve.SAMPLE_PAPERS)).take([0, 4])
    papertune.train(table, "medical-papers", tmp_path / "run", only=["label"], overrides=settings)

    def throughput(workspace, run, table, rows, arguments):
        cells = papertune.load_run(run).predict(str(table))["label"].to_list()
        with serve.serving(workspace) as (url, _):
            served = serve.ask_rows(url, rows, arguments.clients)
            queue = serve.full_queue(url, rows)
        assert served.pop("cells") == cells
        facts = {"load": 0.0, "command_s": 1.0, "predict_rows_per_s": 1.0, "equal_labels": len(rows)}
        return [served | facts], queue

    monkeypatch.setattr(serve, "throughput", throughput)
    arguments = argparse.Namespace(
        run=tmp_path / "run", table=serve.SAMPLE_PAPERS, rows=6, clients=3, threads=1, output=tmp_path / "table.md"
    )
    result = serve.measure(arguments)
    assert result["rounds"][0]["statuses"] == {200: 6}
    assert set(result["full_queue"]["statuses"]) <= {200, 429}
    assert sum(result["full_queue"]["statuses"].values()) == serve.AT_ONCE
    assert set(result["full_queue"]["retry_after"]) <= {"1"}
    assert result["clients_that_leave"] == {"waited": 6, "given_to_the_model": 0}
    assert result["dropped_text"].keys() == {"written_on_s", "tokens_after", "tokens_per_s"}
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out


def test_a_quantile_is_the_smallest_value_that_suffices():
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [serve.quantile(values, share) for share in (0.2, 0.5, 0.6, 0.61, 0.99, 1.0)] == [1, 3, 3, 4, 5, 5]
