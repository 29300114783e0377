"""Encodings are detected where that is certain, and refused where it would be a guess."""

import pytest

from papertune.errors import PapertuneWarning, TableError
from papertune.tables import read_table

CHINESE = "uuid,标题,摘要\n01,邓小平的国家主权思想,国家主权是惟一的和完整的；人权得以实现的基本前提。\n"
WESTERN = {
    "french": "id,title\n1,Étude de la qualité des eaux à long terme où l'élève naïf préféra Noël\n",
    "german": "id,title\n1,Über die Größe der Äpfel: Müller, Weiß\n".replace(": Müller,", " Müller"),
    "one accent": "id,title\n1,d\u00e9j\u00e0\n",
    "one inner accent": "id,title\n1,na\u00efve\n",
    "capitals": "id,title\n1,ÉCOLE DÉCÉDÉE ÉTÉ\n",
}


def read(folder, content):
    (folder / "papers.csv").write_bytes(content)
    return read_table(folder / "papers.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_utf_8_and_utf_16_are_read(tmp_path, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    table = read(tmp_path, mark + CHINESE.encode(encoding))
    assert table.columns == ["uuid", "标题", "摘要"]
    assert table.column("标题") == ["邓小平的国家主权思想"]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk"])
def test_chinese_is_read_with_a_warning(tmp_path, encoding):
    with pytest.warns(PapertuneWarning) as caught:
        table = read(tmp_path, CHINESE.encode(encoding))
    assert table.columns == ["uuid", "标题", "摘要"]
    assert [str(warning.message).replace(str(tmp_path), "") for warning in caught] == [
        "/papers.csv is not UTF-8 and was read as GB18030; its first Chinese text is "
        '"标题,摘要\\n01,邓小平的国家主权思想,国家主权是惟一的和完". If that is wrong, save the file again as UTF-8.'
    ]


@pytest.mark.parametrize("text", WESTERN.values(), ids=WESTERN)
def test_latin_1_is_refused_with_the_place_of_its_first_byte(tmp_path, text):
    content = text.encode("latin-1")
    first = min(offset for offset, byte in enumerate(content) if byte > 127)
    with pytest.raises(TableError) as error:
        read(tmp_path, content)
    assert f"papers.csv, line 2: byte 0x{content[first]:02X} at offset {first} is not UTF-8" in str(error.value)
    assert 'Save it again as UTF-8: in Excel the type is "CSV UTF-8"' in str(error.value)


@pytest.mark.parametrize("encoding", ["big5", "shift_jis", "euc_jp", "cp1251"])
def test_other_encodings_are_not_read_as_chinese(tmp_path, encoding):
    text = (
        "高血圧の研究。方法は比較試験である。" if "j" in encoding else "糖尿病與高血壓之關係研究，方法為隨機對照試驗。"
    )
    text = "Исследование связи между диабетом" if encoding == "cp1251" else text
    with pytest.raises(TableError, match="does not read as Chinese in GB18030 either"):
        read(tmp_path, b"id,title\n1," + text.encode(encoding) + b"\n")


def test_damaged_utf_8_is_not_read_as_chinese(tmp_path):
    content = (CHINESE * 50).encode()
    damaged = content[:2000] + b"\xff" + content[2001:]
    with pytest.raises(TableError, match=r"line \d+: byte 0xFF at offset 2000 is not UTF-8"):
        read(tmp_path, damaged)


def test_places_are_correct_after_the_first_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("papertune.tables.formats.encodings.CHUNK_BYTES", 5)
    content = "a,b\n" + "é,ü\n" * 40
    for cut in (3, 4):  # the bad byte ends a chunk or starts one, with half a character pending
        encoded = content.encode() + b"x" * cut + "é".encode()[:1] + b"\n"
        with pytest.raises(TableError, match=f"line 42: byte 0xC3 at offset {4 + 6 * 40 + cut} is not"):
            read(tmp_path, encoded)
    assert len(read(tmp_path, content.encode())) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"PK\x03\x04rest",
            "is a zip archive, as Excel's .xlsx is, not text. Unpack it, save it as .xlsx or .csv, or correct the",
        ),
        (b"\x1f\x8brest", "is compressed with gzip, not text"),
        (b"PAR1\x15rest", "is a Parquet file, not text"),
        (b"\xff\xfea\0b", r"starts with the byte order mark of UTF-16 but is not UTF-16 throughout \(truncated data\)"),
        ("a,b\n1,2\n".encode("utf-16-le"), "every other byte is zero, as in UTF-16 without a byte order mark"),
        ("a,b\n1,2\n".encode("utf-16-be"), "every other byte is zero, as in UTF-16 without a byte order mark"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        read(tmp_path, content)
