"""Uploads, pages of rows, corrections, downloads."""

CSV = b"id,title,n\n1,Knee pain,5\n2,=SUM(A1),\n3,\xe4\xb8\xad\xe6\x96\x87,7\n"


def upload(client, content=CSV, name="papers.csv"):
    answer = client.put("/api/tables", params={"name": name}, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


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
