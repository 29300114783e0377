"""Exports of reference managers and of PubMed."""

import pytest

from papertune.errors import TableError
from papertune.tables import read_table

RIS = """\
Provider: Some Library
Database: Some Base
Content: text/plain; charset="UTF-8"

TY  - JOUR
ID  - 0017
AU  - Müller, Anna
AU  - Weiß, Bernd
TI  - Aspirin in mice: a trial
AB  - Background: a first line
and a second one

Methods - none.
AB  - Another abstract
KW  - aspirin
mice
KW  - trial
PY  - 2020/01/05/
T2  - Journal of Mice
DO  - 10.1000/xyz
UR  - http://example.org/a;b
XX  - odd tag
ER  -\x20

between the records
TY  - CHAP
A1  - Doe, Jane
T1  - The older tags
TI  - The newer tags
N2  - An abstract
Y1  - 1999
TY  - BOOK
TI  - Its neighbours have no end"""

PUBMED = """\

PMID- 31452104
OWN - NLM
DP  - 2020 Jan-Feb
TI  - A long title
      that goes on.
LID - 10.1000/xyz [doi]
LID - S0140-6736(20)30183-5 [pii]
AB  - BACKGROUND: A - B
      and C.
FAU - Smith, John
AU  - Smith J
AD  - Department of Long Names, University of
      Somewhere.
FAU - Doe, Jane
AU  - Doe J
PT  - Journal Article
PT  - Review
JT  - The Journal of Things
TA  - J Things
MH  - Humans
MH  - *Trials
OT  - first keyword
OT  - second
      keyword
PMC - PMC123

PMID- 2
TI  - Second
"""


def read(folder, content, name):
    (folder / name).write_bytes(content.encode())
    return read_table(folder / name)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["refs.ris", "refs.txt"])
def test_ris_records_become_rows(tmp_path, name, ending):
    table = read(tmp_path, "\ufeff" + RIS.replace("\n", ending), name)
    first, second, third = table.frame.to_dicts()
    assert {column: cell for column, cell in first.items() if cell} == {
        "id": "0017",
        "title": "Aspirin in mice: a trial",
        "author": "Müller, Anna; Weiß, Bernd",
        "abstract": "Background: a first line and a second one Methods - none.; Another abstract",
        "Keywords": "aspirin; mice; trial",
        "year": "2020",
        "date": "2020/01/05/",
        "journal": "Journal of Mice",
        "doi": "10.1000/xyz",
        "type": "JOUR",
        "urls": "http://example.org/a;b",
        "XX": "odd tag",
    }
    assert {column: cell for column, cell in second.items() if cell} == {
        "title": "The newer tags",
        "primary_title": "The older tags",
        "author": "Doe, Jane",
        "abstract": "An abstract",
        "year": "1999",
        "type": "CHAP",
    }
    assert third["title"] == "Its neighbours have no end"
    assert table.where(2, "title").endswith(f'{name}, record 3, column "title"')


@pytest.mark.parametrize("name", ["refs.nbib", "pubmed-export.txt"])
def test_pubmed_records_become_rows(tmp_path, name):
    table = read(tmp_path, PUBMED, name)
    first, second = table.frame.to_dicts()
    assert {column: cell for column, cell in first.items() if cell} == {
        "id": "31452104",
        "title": "A long title that goes on.",
        "author": "Smith, John; Doe, Jane",
        "AU": "Smith J; Doe J",
        "abstract": "BACKGROUND: A - B and C.",
        "Keywords": "first keyword; second keyword",
        "mesh_terms": "Humans; *Trials",
        "year": "2020",
        "date": "2020 Jan-Feb",
        "journal": "The Journal of Things",
        "TA": "J Things",
        "type": "Journal Article; Review",
        "pmcid": "PMC123",
        "author_address": "Department of Long Names, University of Somewhere.",
        "doi": "10.1000/xyz",
        "LID": "10.1000/xyz [doi]; S0140-6736(20)30183-5 [pii]",
        "OWN": "NLM",
    }
    assert {column: cell for column, cell in second.items() if cell} == {"id": "2", "title": "Second"}
    assert table.where(1).endswith(f"{name}, record 2")


def test_text_without_records_is_refused(tmp_path):
    for name in ("notes.txt", "refs.ris"):
        with pytest.raises(TableError) as error:
            read(tmp_path, "TYpical notes\nPMIDs are numbers\n", name)
        assert str(error.value).endswith(
            f'{name}: there is no record; one starts with a line "TY  - ..." (RIS) or "PMID- ..." (PubMed). '
            "Export the references again in one of these formats."
        )
