"""Uploads, pages of rows, corrections, downloads."""

import asyncio
import csv
import datetime
import errno
import io
import json
import os
import re
import resource
import shutil
import time
import zipfile

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from papertune.errors import TableError
from papertune.serve.app import create_app
from papertune.serve.tables import limited
from papertune.serve.tables.corrections import Corrections, corrected_table
from papertune.serve.tables.downloads import content_disposition
from papertune.serve.tables.models import Correction
from papertune.serve.tables.store import Tables
from papertune.serve.tables.uploads import receive
from papertune.serve.workspace import open_workspace
from papertune.tables import Table, read_table

BEARER = {"Authorization": "Bearer a-token-for-tests"}
CSV = b"id,title,n\n1,Knee pain,5\n2,=SUM(A1),\n3,\xe4\xb8\xad\xe6\x96\x87,7\n"


def upload(client, content=CSV, name="papers.csv"):
    answer = client.put("/api/tables", params={"name": name}, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """Return the folder of a table, made once: reading an upload starts a process."""
    workspace = open_workspace(tmp_path_factory.mktemp("parsed"))
    store = Tables(workspace)
    path = store.start("papers.csv")
    path.write_bytes(CSV)
    return workspace.tables / store.finish(path, "papers.csv").id


@pytest.fixture
def table(parsed, workspace):
    shutil.copytree(parsed, workspace.tables / parsed.name)
    return json.loads((parsed / "meta.json").read_bytes()) | {"id": parsed.name}


def correction(number, row, column, value):
    return {"id": str(number), "row": row, "column": column, "value": value}


def error_of(answer):
    assert 400 <= answer.status_code < 500 or answer.status_code == 507
    return answer.status_code, answer.json()["error"]["message"]


def test_an_uploaded_table_is_described_and_listed(client):
    table = upload(client)
    assert table["name"] == "papers.csv"
    assert table["rows"] == 3
    assert table["columns"] == [
        {"name": "id", "filled": 3, "examples": ["1", "2", "3"]},
        {"name": "title", "filled": 3, "examples": ["Knee pain", "=SUM(A1)", "中文"]},
        {"name": "n", "filled": 2, "examples": ["5", "7"]},
    ]
    assert client.get("/api/tables").json() == {"tables": [table]}
    assert client.get(f"/api/tables/{table['id']}").json() == table


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        (
            "a.ods",
            b"x",
            415,
            '"a.ods" has the unknown suffix ".ods". The known suffixes are .csv, .tsv, .jsonl, .json,',
        ),
        ("../../etc/passwd", b"x", 415, '"../../etc/passwd" has no suffix.'),
        ("a.csv", b"", 400, "the file is empty. Choose another one."),
        ("a.csv", b"a,b\n", 400, "a.csv has a header but no rows. Give a table with at least one row."),
        ("my papers.jsonl", b'{"a": 1', 400, "my papers.jsonl, line 1"),
        (
            "dataset_info.json",
            b'{"x": {"file_name": "/etc/hosts"}}',
            400,
            "dataset_info.json is a register of data sets, which names other files. Upload the table itself.",
        ),
    ],
)
def test_what_is_no_table_is_refused_and_leaves_nothing(client, workspace, name, content, status, message):
    answer = client.put("/api/tables", params={"name": name}, content=content)
    assert error_of(answer)[0] == status
    assert error_of(answer)[1].startswith(message)
    assert list(workspace.tables.iterdir()) == []
    assert client.get("/api/tables").json() == {"tables": []}


def test_ids_are_the_servers_and_names_are_only_shown(client, workspace):
    table = upload(client, name="../../evil\u202e.csv")
    assert table["name"] == r"evil\u202e.csv"
    folder = workspace.tables / table["id"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "cells.arrow", "meta.json", "original.csv", "places.json",
    ]  # fmt: skip
    assert (folder / "original.csv").read_bytes() == CSV


@pytest.mark.parametrize("table_id", ["..%2f..", "%2e%2e", "x", ".hidden", "a" * 65, "a b", "000001-ab%00"])
def test_no_id_leads_out_of_the_folder(client, table_id):
    for path in (f"/api/tables/{table_id}", f"/api/tables/{table_id}/rows", f"/api/tables/{table_id}/download"):
        assert client.get(path).status_code == 404
    assert client.delete(f"/api/tables/{table_id}").status_code in (404, 405)


def test_a_file_is_counted_while_it_streams(workspace, keys, monkeypatch):
    monkeypatch.setattr("papertune.serve.tables.routes.MAX_UPLOAD_BYTES", 3 * 2**20)
    with TestClient(create_app(workspace, keys), base_url="http://localhost", headers=BEARER) as client:
        answer = client.put("/api/tables?name=a.csv", content=iter([b"x" * 2**20] * 4))
        assert answer.status_code == 413
        assert answer.json()["error"] == {
            "code": "too_large",
            "message": "the file has more than 3 MB. Leave out columns or rows that are not needed, or compress it: "
            "Parquet takes a third of a CSV file.",
            "params": {"limit_mb": 3},
        }
        assert list(workspace.tables.iterdir()) == []
        assert client.put("/api/tables?name=a.csv", content=b"a\n1\n").status_code == 200


def bomb():
    """Return an xlsx file whose sheet unpacks to 200 MB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(200):
                sheet.write(b" " * 2**20)
    return packed.getvalue()


def test_an_xlsx_bomb_is_refused_before_it_is_unpacked(client):
    content = bomb()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, message = error_of(client.put("/api/tables?name=bomb.xlsx", content=content))
    assert (status, message) == (
        400,
        "bomb.xlsx unpacks to far more than a table of its size does. It is damaged, or not a table. Export the table "
        "again.",
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - used.ru_utime < 10


def test_a_file_that_takes_too_much_memory_or_time_is_refused(client, monkeypatch):
    lines = "".join(f"{row},{'x' * 40}\n" for row in range(200_000))
    with monkeypatch.context() as patch:
        patch.setattr(limited, "_BASE_BYTES", 400_000_000)
        patch.setattr(limited, "_BYTES_PER_BYTE", 0)
        answer = client.put("/api/tables?name=a.csv", content=b"id,text\n" + lines.encode())
    assert error_of(answer) == (
        400,
        "a.csv takes more than 0.4 GB of memory to read. It is damaged, or not a table. Split it, or export it again.",
    )
    monkeypatch.setattr(limited, "_WAIT", 0.001)
    assert error_of(client.put("/api/tables?name=a.csv", content=CSV)) == (
        400,
        "a.csv takes too long to read. It is damaged, or not a table. Export it again.",
    )


def test_rows_come_in_pages_with_their_places(client, table):
    page = client.get(f"/api/tables/{table['id']}/rows?offset=1&limit=1").json()
    assert page == {
        "offset": 1,
        "total": 3,
        "rows": [
            {
                "row": 1,
                "place": "row 2 below the header",
                "cells": {"id": "2", "title": "=SUM(A1)", "n": ""},
                "corrected": [],
            }
        ],
    }
    assert client.get(f"/api/tables/{table['id']}/rows?offset=7").json()["rows"] == []
    assert error_of(client.get(f"/api/tables/{table['id']}/rows?offset=-1")) == (
        400,
        "offset: Input should be greater than or equal to 0. Correct the request.",
    )


def test_pages_of_a_large_table_take_milliseconds(workspace, client):
    lines = "".join(f"{row},{'word ' * 100},{row % 7}\n" for row in range(20_000))
    table = upload(client, b"id,abstract,n\n" + lines.encode())
    client.get(f"/api/tables/{table['id']}/rows")
    begun = time.process_time()
    for offset in range(0, 20_000, 1000):
        page = client.get(f"/api/tables/{table['id']}/rows?offset={offset}&limit=20").json()
        assert [row["cells"]["id"] for row in page["rows"]] == [str(offset + row) for row in range(20)]
    assert (time.process_time() - begun) / 20 < 0.1


def test_a_corrected_cell_is_shown_downloaded_and_given_to_commands(client, app, workspace, table):
    path = f"/api/tables/{table['id']}"
    store = Tables(workspace)
    assert store.file(table["id"]).read_bytes() == CSV
    sent = [correction(1, 0, "title", "Hip pain"), correction(2, 2, "n", "8"), correction(3, 2, "n", "9")]
    assert client.patch(f"{path}/cells", json=sent).json() == {"saved": 3, "cells": 2}
    row = client.get(f"{path}/rows?limit=1").json()["rows"][0]
    assert (row["cells"]["title"], row["corrected"]) == ("Hip pain", ["title"])
    assert client.get(f"{path}/download").text == "id,title,n\n1,Hip pain,5\n2,=SUM(A1),\n3,中文,9\n"
    assert client.get(f"{path}/download?corrected=false").content == CSV
    again = Tables(workspace)
    assert read_table(again.file(table["id"])).column("title") == ["Hip pain", "=SUM(A1)", "中文"]
    assert again.read(table["id"]).column("n") == ["5", "", "9"]
    # Taken back: the cell is as it was.
    client.patch(f"{path}/cells", json=[correction(4, 0, "title", "Knee pain")])
    assert client.get(f"{path}/rows?limit=1").json()["rows"][0]["corrected"] == []


def test_a_file_of_a_command_does_not_change_under_it(client, workspace, table):
    store = Tables(workspace)
    store.correct(table["id"], [Correction(**correction(1, 0, "n", "1"))])
    first = store.file(table["id"])
    before = first.read_bytes()
    store.correct(table["id"], [Correction(**correction(2, 0, "n", "2"))])
    assert store.file(table["id"]) != first
    assert first.read_bytes() == before


def test_a_correction_that_is_sent_twice_counts_once(client, app, table):
    path = f"/api/tables/{table['id']}"
    sent = [correction(1, 0, "n", "6")]
    assert client.patch(f"{path}/cells", json=sent).json() == {"saved": 1, "cells": 1}
    client.patch(f"{path}/cells", json=[correction(2, 0, "n", "7")])
    assert client.patch(f"{path}/cells", json=sent + sent).json() == {"saved": 0, "cells": 1}
    assert client.get(f"{path}/rows?limit=1").json()["rows"][0]["cells"]["n"] == "7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": 3}, "there is no row 3: the table has 3 rows, counted from 0. Reload it."),
        ({"column": "titel"}, 'there is no column "titel". Reload the table.'),
        ({"value": "a\0b"}, "the value has a NUL character, which tables cannot hold. Remove it."),
        ({"row": "0"}, "[0].row: Input should be a valid integer. Correct the request."),
        ({"id": "a b"}, "[0].id: String should match pattern '^[A-Za-z0-9._-]+$'. Correct the request."),
    ],
)
def test_a_correction_of_no_cell_is_refused_and_none_is_stored(client, change, message, table):
    path = f"/api/tables/{table['id']}"
    bad, good = correction(1, 0, "n", "6") | change, correction(2, 0, "n", "7")
    assert error_of(client.patch(f"{path}/cells", json=[bad, good])) == (400, message)
    assert client.get(f"{path}/rows?limit=1").json()["rows"][0]["corrected"] == []


cells = st.tuples(st.integers(0, 2), st.sampled_from(["id", "n"]))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


@given(changes=st.lists(st.tuples(st.integers(0, 9), cells, texts), max_size=12), cut=st.floats(0, 1))
def test_a_kill_at_any_byte_leaves_the_corrections_before_it(tmp_path_factory, changes, cut):
    table = Table(pl.DataFrame({"id": ["a", "b", "c"], "n": ["", "1", "2"]}), "t")
    path = tmp_path_factory.mktemp("c") / "corrections.jsonl"
    log = Corrections(path)
    log.submit([Correction(id=str(n), row=row, column=column, value=value) for n, (row, column), value in changes])
    log.close()
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(content[: round(cut * len(content))])
    again = Corrections(path)
    again.close()
    # The plain way: each line is an assignment.
    rows = [dict(zip(("id", "n"), row, strict=True)) for row in table.frame.rows()]
    first = {n: (cell, value) for n, cell, value in reversed(changes)}
    order = list(dict.fromkeys(n for n, _, _ in changes))[: path.read_bytes().count(b"\n")]
    for (row, column), value in map(first.__getitem__, order):
        rows[row][column] = value
    assert corrected_table(table, again.cells).frame.rows(named=True) == rows


def test_a_corrected_number_of_a_json_table_stays_a_number(client):
    table = upload(client, b'[{"a": 1, "b": null}, {"a": 2}]', "a.json")
    path = f"/api/tables/{table['id']}"
    sent = [correction(1, 0, "a", "3"), correction(2, 1, "a", "many"), correction(3, 0, "b", "5")]
    client.patch(f"{path}/cells", json=sent)
    assert client.get(f"{path}/download?format=json").json() == [{"a": 3, "b": "5"}, {"a": "many"}]


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "jsonl", "json", "parquet"])
def test_a_download_in_any_format_has_the_same_cells(client, tmp_path, workspace, kind, table):
    answer = client.get(f"/api/tables/{table['id']}/download?format={kind}")
    assert answer.headers["content-disposition"] == (
        f"attachment; filename=\"papers.{kind}\"; filename*=UTF-8''papers.{kind}"
    )
    path = tmp_path / f"download.{kind}"
    path.write_bytes(answer.content)
    assert read_table(path).frame.rows() == [("1", "Knee pain", "5"), ("2", "=SUM(A1)", ""), ("3", "中文", "7")]
    assert not list((workspace.tables / table["id"]).glob("download*"))


@given(st.text(max_size=30))
def test_the_name_of_a_download_is_one_header_whatever_people_call_a_table(name):
    header = content_disposition(name, "csv-spreadsheet")
    assert re.fullmatch(r"attachment; filename=\"[\w. -]+\.csv\"; filename\*=UTF-8''[\w.%~-]+\.csv", header, re.ASCII)


def test_a_download_has_its_full_name_in_utf8():
    assert content_disposition("论文 a.xlsx", "csv") == (
        "attachment; filename=\"__ a.csv\"; filename*=UTF-8''%E8%AE%BA%E6%96%87%20a.csv"
    )


def test_a_csv_file_for_spreadsheets_has_no_formulas(client):
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=b", ""]
    rows = [{"=n": str(number), "text": cell} for number, cell in enumerate(cells)]
    table = upload(client, json.dumps(rows).encode(), "a.json")
    content = client.get(f"/api/tables/{table['id']}/download?format=csv-spreadsheet").content
    assert content.startswith(b"\xef\xbb\xbf")
    found = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert found[0] == ["'=n", "text"]
    assert [row[1] for row in found[1:]] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx", "a=b", ""]


def test_what_a_format_cannot_hold_is_said_with_the_name_that_people_know(client, workspace):
    table = upload(client, b"text\n" + b"x" * 40_000 + b"\n", "long cells.csv")
    assert error_of(client.get(f"/api/tables/{table['id']}/download?format=xlsx")) == (
        400,
        'long cells.xlsx, row 2 of the sheet, column "text": the cell has 40,000 characters and xlsx holds at most '
        "32,767. Write .csv or .parquet instead.",
    )
    assert not list((workspace.tables / table["id"]).glob("download*"))


def test_a_deleted_table_is_gone(client, workspace, table):
    path = f"/api/tables/{table['id']}"
    client.patch(f"{path}/cells", json=[correction(1, 0, "n", "6")])
    assert client.delete(path).status_code == 200
    assert client.get(path).status_code == 404
    assert client.get(f"{path}/rows").status_code == 404
    assert list(workspace.tables.iterdir()) == []


def test_tables_are_listed_in_the_order_of_making_whatever_the_clock_says(client, monkeypatch):
    class Clock(datetime.datetime):
        years = iter((2030, 1990, 2010))

        @classmethod
        def now(cls, tz=None):
            return cls(next(cls.years), 1, 1, tzinfo=tz)

    monkeypatch.setattr("papertune.serve.tables.store.datetime", Clock)
    made = [upload(client, name=f"{name}.csv")["name"] for name in "abc"]
    assert [table["name"] for table in client.get("/api/tables").json()["tables"]] == made[::-1]


def test_a_full_disk_is_said_and_the_upload_works_when_there_is_room(client, workspace, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("papertune.serve.tables.store.write_atomically", full)
        status, message = error_of(client.put("/api/tables?name=a.csv", content=CSV))
    assert (status, message) == (
        507, "the disk of the server is full, so nothing was stored. Make room, then do it again.",
    )  # fmt: skip
    assert list(workspace.tables.iterdir()) == []
    path = f"/api/tables/{upload(client)['id']}"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        status, message = error_of(client.patch(f"{path}/cells", json=[correction(1, 0, "n", "6")]))
    assert status == 507
    assert "the correction was not saved: No space left on device. Make room" in message
    assert client.patch(f"{path}/cells", json=[correction(1, 0, "n", "6")]).json() == {"saved": 1, "cells": 1}


def test_a_file_is_taken_to_its_end_although_the_disk_is_full(tmp_path, monkeypatch):
    def full(file, piece):
        wrote.append(len(piece))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def messages():
        return sent.pop()

    wrote = []
    sent = [{"type": "http.request", "body": b"x" * 2**20, "more_body": left > 0} for left in range(5)]
    monkeypatch.setattr("papertune.serve.tables.uploads._write_all", full)
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(receive(Request({"type": "http"}, messages), tmp_path / "a.csv", 2**30))
    assert (wrote, sent) == ([2**20], [])
    assert (tmp_path / "a.csv").stat().st_size == 0


def test_a_full_disk_while_a_table_is_read_is_no_fault_of_the_table(client, workspace, monkeypatch):
    monkeypatch.setattr(limited, "_MODULE", "tests_have_no_such_module: No space left on device")
    assert error_of(client.put("/api/tables?name=a.csv", content=CSV)) == (
        507, "a.csv was not stored: the disk of the server is full. Make room, then upload it again.",
    )  # fmt: skip
    assert list(workspace.tables.iterdir()) == []


def test_what_a_kill_has_left_of_an_upload_is_removed(workspace):
    (workspace.tables / "000001-half").mkdir()
    (workspace.tables / "000001-half" / "original.csv").write_bytes(CSV)
    removed = workspace.tables / ".removed-000002-x"
    removed.mkdir()
    (removed / "meta.json").write_text("{}", "utf-8")
    assert Tables(workspace).all() == []
    assert list(workspace.tables.iterdir()) == []


def test_a_table_that_is_being_removed_or_is_damaged_leaves_the_others_in_the_list(client, workspace, table, caplog):
    for name in (".removed-000008-x", "000009-damaged"):
        (workspace.tables / name).mkdir()
        (workspace.tables / name / "meta.json").write_text("{", "utf-8")
    assert [each["id"] for each in client.get("/api/tables").json()["tables"]] == [table["id"]]
    assert [record.message.partition(" is damaged")[0] for record in caplog.records] == [
        str(workspace.tables / "000009-damaged" / "meta.json")
    ]


def test_cells_that_are_lost_are_read_again(client, workspace, table):
    (workspace.tables / table["id"] / "cells.arrow").write_bytes(b"damaged")
    again = Tables(workspace)
    assert again.read(table["id"]).column("id") == ["1", "2", "3"]


def test_a_filled_table_of_a_job_becomes_a_table(workspace, tmp_path):
    store = Tables(workspace)
    filled = tmp_path / "filled.csv"
    filled.write_bytes(CSV)
    meta = store.add(filled, "papers filled.csv")
    assert (meta.name, meta.rows, filled.exists()) == ("papers filled.csv", 3, False)
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"a\n")
    with pytest.raises(TableError) as caught:
        store.add(broken, "broken.csv")
    assert str(caught.value) == "broken.csv has a header but no rows. Give a table with at least one row."
    assert broken.exists()
    assert [table.id for table in store.all()] == [meta.id]
