"""Exports of reference managers and of PubMed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.errors import PapertuneWarning, TableError
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
    with pytest.warns(PapertuneWarning, match="line 25: 1 line stands outside the records and cannot be read"):
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


def filled(table):
    return [{column: cell for column, cell in row.items() if cell} for row in table.frame.to_dicts()]


def refusal(folder, content, name="refs.ris"):
    with pytest.raises(TableError) as error:
        read(folder, content, name)
    return str(error.value).replace(str(folder / name), name)


def test_tags_before_the_start_tag_belong_to_the_record_that_follows(tmp_path):
    content = "DB  - X\nTI  - One\nTY  - JOUR\nAB  - a\nER  - \n\nTI  - Two\nKW  - k\nTY  - BOOK\nKW  - l\nER  - \n"
    assert filled(read(tmp_path, content, "refs.ris")) == [
        {"title": "One", "abstract": "a", "type": "JOUR", "name_of_database": "X"},
        {"title": "Two", "Keywords": "k; l", "type": "BOOK"},
    ]
    # A record without TY, and one without an end.
    content = "TI  - One\nER  - \nTY  - JOUR\nTI  - Two\nER  - \nER  - \nTI  - Three\nER  - \n"
    assert [row["title"] for row in filled(read(tmp_path, content, "refs.ris"))] == ["One", "Two", "Three"]
    content = "TI  - One\nTY  - JOUR\nTI  - Two\nTY  - JOUR\n"
    assert refusal(tmp_path, content) == (
        "refs.ris, line 2: tags stand before TY, and not every record ends in ER, so it is not clear which record they "
        "belong to. End each record with ER."
    )


def test_tags_in_small_letters_are_read(tmp_path):
    content = "TY  - JOUR\nti  - One\nAb  - Its effect\nzz  - not a tag\nER  - \n"
    assert filled(read(tmp_path, content, "refs.ris")) == [
        {"title": "One", "abstract": "Its effect zz  - not a tag", "type": "JOUR"}
    ]


def test_what_belongs_to_no_record_is_counted(tmp_path):
    content = "Provider: P\nzz  - lost\n\n<1>\nTY  - JOUR\nTI  - One\nER  - \nlost, too\n2.\nTY  - JOUR\nTI  - Two"
    with pytest.warns(PapertuneWarning) as warned:
        table = read(tmp_path, content, "refs.ris")
    assert [row["title"] for row in filled(table)] == ["One", "Two"]
    assert [str(each.message).replace(str(tmp_path), "") for each in warned] == [
        "/refs.ris, line 2: 2 lines stand outside the records and cannot be read (this is the first).",
        "/refs.ris, record 2: the last record has no ER at its end, unlike the others, so the file may be cut off. "
        "Export it again if something is missing.",
    ]


def test_joined_exports_are_read(tmp_path):
    content = "TY  - JOUR\nTI  - One\n\ufeffTY  - JOUR\nTI  - Two\nER  - \n"
    assert [row["title"] for row in filled(read(tmp_path, content, "refs.ris"))] == ["One", "Two"]
    content = WEB_OF_SCIENCE + "\ufeff" + WEB_OF_SCIENCE
    titles = [row["title"] for row in filled(read(tmp_path, content, "savedrecs.txt"))]
    assert titles == ["Ground beetles along hedgerows of three valleys", "Night moths"] * 2


def test_other_dialects_of_ris_are_read(tmp_path):
    content = "1.\nTY - JOUR\nT1 - Moths: a\n study\nN2 - Lamps.\nKW - *moths\nKW - lamps\nY1 - 2015//\nER -\n"
    assert filled(read(tmp_path, content, "refs.txt")) == [
        {
            "title": "Moths: a study",
            "abstract": "Lamps.",
            "Keywords": "*moths; lamps",
            "year": "2015",
            "date": "2015//",
            "type": "JOUR",
        }
    ]


WEB_OF_SCIENCE = """\
FN Clarivate Analytics Web of Science
VR 1.0
PT J
AU Moser, P
   Berger, U
AF Moser, Petra
   Berger, Ute
TI Ground beetles along hedgerows
   of three valleys
SO JOURNAL OF BEETLES
DE carabids; hedgerow;
   farmland
ID DIVERSITY
AB Pitfall traps were emptied.
C1 [Moser, P] Univ X.
   [Berger, U] Univ Y.
PY 2014
DI 10.1000/xyz
UT WOS:0001
ER

PT J
TI Night moths
ER

EF
"""


@pytest.mark.parametrize("name", ["savedrecs.txt", "savedrecs.ciw"])
def test_plain_text_of_web_of_science_is_read(tmp_path, name):
    first, second = filled(read(tmp_path, "\ufeff" + WEB_OF_SCIENCE, name))
    assert first == {
        "id": "WOS:0001",
        "title": "Ground beetles along hedgerows of three valleys",
        "author": "Moser, Petra; Berger, Ute",
        "authors": "Moser, P; Berger, U",
        "abstract": "Pitfall traps were emptied.",
        "Keywords": "carabids; hedgerow; farmland",
        "keywords_plus": "DIVERSITY",
        "year": "2014",
        "journal": "JOURNAL OF BEETLES",
        "doi": "10.1000/xyz",
        "type": "J",
        "author_address": "[Moser, P] Univ X.; [Berger, U] Univ Y.",
    }
    assert second == {"title": "Night moths", "type": "J"}


def test_endnote_and_refworks_exports_are_read(tmp_path):
    endnote = "%0 Journal Article\n%A Moser, Petra\n%A Berger, Ute\n%D 2014\n%T Beetles\n%J Valleys\n%X Traps.\n\n"
    endnote += "Lamps.\n%K carabids\nhedgerow\n%8 May\n\n%0 Book\n%T Moths\n"
    assert filled(read(tmp_path, endnote, "refs.enw")) == [
        {
            "title": "Beetles",
            "author": "Moser, Petra; Berger, Ute",
            "abstract": "Traps. Lamps.",
            "Keywords": "carabids; hedgerow",
            "year": "2014",
            "journal": "Valleys",
            "type": "Journal Article",
            "%8": "May",
        },
        {"title": "Moths", "type": "Book"},
    ]
    refworks = "RT Journal Article\nSR 1\nA1 张三;李四\nT1 肝癌研究\nK1 肝癌;治疗\nAB 本文\nYR 2020\n\nRT Book\nT1 二\n"
    assert filled(read(tmp_path, refworks, "cnki.txt")) == [
        {
            "id": "1",
            "title": "肝癌研究",
            "author": "张三;李四",
            "abstract": "本文",
            "Keywords": "肝癌;治疗",
            "year": "2020",
            "type": "Journal Article",
        },
        {"title": "二", "type": "Book"},
    ]


def test_text_without_records_is_refused(tmp_path):
    for name in ("notes.txt", "refs.ris"):
        assert refusal(tmp_path, "TYpical notes\nPMIDs are numbers\n", name) == (
            f'{name}: there is no record; one starts with a line "TY  - ..." (RIS), "PMID- ..." (PubMed), "PT ..." '
            '(Web of Science), "%0 ..." (EndNote) or "RT ..." (RefWorks). Export the references again in one of these '
            "formats."
        )
    for start, what in [
        ("@article{x,\n title = {A}\n}\n", "BibTeX"),
        ("{Reference Type}: Journal Article\n{Title}: A\n", "NoteExpress"),
        ('<?xml version="1.0"?><xml><records/></xml>', "XML"),
        ("\n<!DOCTYPE html><html></html>", "an HTML page"),
    ]:
        assert refusal(tmp_path, start, "refs.txt") == (
            f"refs.txt: this is {what}, which is not read. Export the references again as RIS or CSV."
        )


VALUES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=6)
TAGS = st.sampled_from(["TI", "AB", "KW", "AU", "N1", "X9"])
LINES = st.lists(st.tuples(TAGS, VALUES), max_size=4)


@settings(max_examples=100, deadline=None)
@given(records=st.lists(st.tuples(LINES, LINES), min_size=1, max_size=4), gap=st.sampled_from(["", "\n", "Record\n"]))
def test_all_values_of_a_record_stay_in_it_wherever_ty_stands(tmp_path_factory, records, gap):
    def lines(tags):
        return "".join(f"{tag}  - {value}\n" for tag, value in tags)

    content = gap.join(f"{lines(before)}TY  - JOUR\n{lines(after)}ER  - \n" for before, after in records)
    names = {"TI": "title", "AB": "abstract", "KW": "Keywords", "AU": "author", "N1": "notes", "X9": "X9"}
    expected = []
    for before, after in records:
        row = {"type": "JOUR"}
        for tag, value in before + after:
            row[names[tag]] = f"{row[names[tag]]}; {value}" if names[tag] in row else value
        expected.append(row)
    assert filled(read(tmp_path_factory.getbasetemp(), content, "refs.ris")) == expected


def test_records_of_two_kinds_of_export_are_refused(tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_text("TY  - JOUR\nTI  - One\nER  - \n\nPMID- 7\nTI  - Two\n")
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path}, lines 1 and 5: these lines start records of two kinds of export. Put the records of each kind into a "
        "file of their own."
    )


def test_a_stray_line_of_another_export_hides_no_record(tmp_path):
    path = tmp_path / "a.ris"
    path.write_text("%0 Journal Article\nTY  - JOUR\nTI  - One\nER  - \nTY  - JOUR\nTI  - Two\nER  - \n")
    with pytest.warns(PapertuneWarning, match="line 1: 1 line stands outside the records"):
        table = read_table(path)
    assert table.column("title") == ["One", "Two"]
