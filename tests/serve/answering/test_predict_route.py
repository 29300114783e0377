import pytest

from papertune.run import load_run
from papertune.tables import read_table


def post(server, **body):
    return server.client.post(f"{server.url}/api/predict", json=body)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::papertune.errors.PapertuneWarning")  # of cells that are empty
@pytest.mark.parametrize("run", ["all", "joined", "words"])
def test_the_cells_are_those_that_papertune_predict_writes(server, workspace, papers, tmp_path, run):
    rows = papers(9, 50)
    load_run(workspace.runs / run, device="cpu").predict_file(rows, tmp_path / "out.csv", probabilities=True)
    written = read_table(tmp_path / "out.csv")
    answer = post(server, run=run, rows=rows, probabilities=True).json()
    alone = [post(server, run=run, rows=[row], probabilities=True).json()["rows"][0] for row in rows]
    assert len(answer["rows"]) == len(rows)
    for answered in (answer["rows"], alone):
        for number, row in enumerate(answered):
            found = dict(row["cells"])
            found |= {f"{name}_set": "; ".join(labels) for name, labels in row.get("sets", {}).items()}
            assert found == {name: written.frame[name][number] for name in found}
            numbers = {
                f"{name}_probability_{label}": p
                for name, labels in row["probabilities"].items()
                for label, p in labels.items()
            }
            for name, confidence in row.get("confidences", {}).items():
                several = confidence if isinstance(confidence, list) else [confidence]
                numbers |= {(f"{name}_confidence", place): each for place, each in enumerate(several)}
            for title, p in numbers.items():
                title, place = title if isinstance(title, tuple) else (title, 0)
                assert float(written.frame[title][number].split("; ")[place]) == pytest.approx(p, abs=2e-6)
    # Nothing that is written is missing.
    sources = {"all": {"label", "topics", "Keywords", "answer", "year"}}.get(run, {"label"})
    assert set(answer["rows"][0]["cells"]) == sources


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (
            {"run": "none", "rows": [{"title": "x"}]},
            404,
            {
                "message": 'there is no run "none". It may have been deleted: reload.',
                "code": "not_found",
                "params": {"what": "run", "name": "none"},
            },
        ),
        (
            {"run": "../all", "rows": [{"title": "x"}]},
            404,
            {
                "message": 'there is no run "../all". It may have been deleted: reload.',
                "code": "not_found",
                "params": {"what": "run", "name": "../all"},
            },
        ),
        (
            {"run": "all", "rows": [{"title": "x", "abstrakt": "y"}]},
            400,
            {
                "message": 'list of rows has no column "abstract", which table.document names. Did you mean '
                '"abstrakt"?',
                "code": "invalid",
                "params": {"what": "missing_column", "name": "abstract", "key": "table.document"},
            },
        ),
        (
            {"run": "all", "rows": []},
            400,
            {
                "message": "rows: List should have at least 1 item after validation, not 0. Correct the request.",
                "code": "invalid_request",
                "where": "rows",
                "params": {
                    "place": "rows",
                    "problem": "too_short",
                    "field_type": "List",
                    "min_length": 1,
                    "actual_length": 0,
                },
            },
        ),
        (
            {"run": "all", "rows": [{}]},
            400,
            {
                "message": "list of rows, row 1: this object is empty. Each row is one object from column names to "
                "values.",
                "code": "invalid",
                "params": {"what": "invalid_table"},
            },
        ),
    ],
)
def test_a_mistake_is_explained(server, body, status, error):
    answer = post(server, **body)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_values_that_are_no_text_are_read_as_in_a_table(server):
    rows = [{"title": 7, "abstract": None}, {"title": "7", "abstract": ""}, {"title": ["a", "b"], "abstract": True}]
    answer = post(server, run="words", rows=rows, probabilities=True).json()
    assert answer["rows"][0] == answer["rows"][1]
