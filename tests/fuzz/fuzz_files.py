"""Valid files of each format, written here and not by papertune, with the cells that should be read from them."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import polars as pl
from hypothesis import strategies as st

NAMES = ["title", "abstract", "Keywords", "label", "a b", "étude", "标题", "x.y", "{z}", 'q"q', "n#", "ｆ"]
_TEXTS = [
    "", " ", "0", "01", "1.0", "-1", "NaN", "null", "None", "true", "1e999", "2026-11-24", "a, b; c", "['a', 'b']",
    '["a"]', "Aspirin in mice: a trial", "it's \"quoted\"", '"', '""', "a\tb", "=1+1", "é", "汉字，标点", "𝒳",
    "a\u200bb",
    "x" * 300, "TY  - JOUR", "{title}", "a\\nb", "&amp;<b>", "{", "]",
]  # fmt: skip
_BROKEN_LINES = ["two\nlines", "a\r\nb", "a\rb", "\n", "a\u2028b", "a\x0bb"]
_letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
# Cells of any text; cells on one line.
cells = st.one_of(st.sampled_from(_TEXTS + _BROKEN_LINES), st.text(_letters, max_size=6))
lines = st.one_of(
    st.sampled_from(_TEXTS), st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=6)
)
chinese = st.text(st.sampled_from("本文研究肝癌患者的治疗效果，方法：随机对照试验。"), min_size=3, max_size=9)


@dataclass(frozen=True)
class Written:
    """A valid file.

    Attributes:
        data: Its bytes.
        names: The columns.
        rows: The cells.
    """

    data: bytes
    names: list[str]
    rows: list[list[str]]


@st.composite
def grids(draw: Any, texts: st.SearchStrategy[str] = cells) -> tuple[list[str], list[list[str]]]:
    """Draw a header and rows; the first column numbers them, so that none is blank."""
    others = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    rows = draw(st.lists(st.lists(texts, min_size=len(others), max_size=len(others)), min_size=1, max_size=5))
    return ["id", *others], [[f"r{number}", *row] for number, row in enumerate(rows)]


@st.composite
def csv_files(draw: Any, delimiters: Sequence[str] = ",;\t") -> Written:
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]))
    names, rows = draw(grids(chinese if encoding == "gb18030" else cells))
    if encoding == "gb18030":
        names, rows = ["id", *names[1:], "正文"], [[*row, "本文研究随机对照试验"] for row in rows]
        names = [name if name.isascii() else f"n{place}" for place, name in enumerate(names)]
    delimiter = draw(st.sampled_from(delimiters))
    quoted_if = draw(st.sampled_from([f'{delimiter}"\r\n', ""]))
    end = draw(st.sampled_from(["\n", "\r\n"]))

    def record(texts: list[str]) -> str:
        fields = [
            text if text and quoted_if and not set(text) & set(quoted_if) else '"{}"'.format(text.replace('"', '""'))
            for text in texts
        ]
        return delimiter.join(fields) + end

    declared = f"sep={delimiter}\n" if delimiter != "," and len(delimiters) > 1 and draw(st.booleans()) else ""
    text = declared + record(names) + "".join(record(row) + "\n" * draw(st.integers(0, 1)) for row in rows)
    return Written((text.rstrip("\r\n") if draw(st.booleans()) else text).encode(encoding), names, rows)


def tsv_files() -> st.SearchStrategy[Written]:
    return csv_files(delimiters="\t")


_values = st.one_of(
    cells, st.none(), st.booleans(), st.integers(), st.sampled_from([1.5, -0.25, 10**30]), st.lists(cells, max_size=2)
)


def text_of_json(value: Any) -> str:
    """Return the cell that a JSON value becomes."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@st.composite
def json_files(draw: Any, *, one_per_line: bool = False) -> Written:
    names, rows = draw(grids(_values))  # type: ignore[arg-type]
    missing = draw(st.booleans())
    entries = [
        {name: value for name, value in zip(names, row, strict=True) if value is not None or not missing}
        for row in rows
    ]
    ensure_ascii = draw(st.booleans())
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    if one_per_line:
        blank = "\n" * draw(st.integers(1, 2))
        text = blank.join(json.dumps(entry, ensure_ascii=ensure_ascii) for entry in entries)
    else:
        text = json.dumps(entries, ensure_ascii=ensure_ascii, indent=draw(st.sampled_from([None, 1, "\t"])))
    kept = list({name: None for entry in entries for name in entry})
    texts = [[text_of_json(entry.get(name)) for name in kept] for entry in entries]
    return Written(text.encode(encoding), kept, texts)


def jsonl_files() -> st.SearchStrategy[Written]:
    return json_files(one_per_line=True)


@st.composite
def parquet_files(draw: Any) -> Written:
    names, rows = draw(grids())
    columns = list(zip(*rows, strict=True))
    frame = pl.DataFrame(
        {name: pl.Series(column, dtype=pl.String) for name, column in zip(names, columns, strict=True)}
    )
    numbers = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(rows), max_size=len(rows)))
    flags = draw(st.lists(st.one_of(st.none(), st.booleans()), min_size=len(rows), max_size=len(rows)))
    lists = draw(st.lists(st.lists(cells, max_size=2), min_size=len(rows), max_size=len(rows)))
    frame = frame.with_columns(
        pl.Series("number", numbers, dtype=pl.Int64),
        pl.Series("flag", flags, dtype=pl.Boolean),
        pl.Series("list", lists, dtype=pl.List(pl.String)),
    )
    file = io.BytesIO()
    frame.write_parquet(file, compression=draw(st.sampled_from(["zstd", "snappy", "uncompressed"])))
    more = zip(map(str, numbers), map(text_of_json, flags), map(text_of_json, lists), strict=True)
    return Written(file.getvalue(), frame.columns, [[*row, *others] for row, others in zip(rows, more, strict=True)])


_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
XLSX_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
    '<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" '
    f'Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def sheet(rows: str) -> str:
    """Return a worksheet with some `<row>` tags."""
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def text_cell(reference: str, text: str) -> str:
    """Return a cell with its text inline; a reference "" leaves it out."""
    where = f" r={quoteattr(reference)}" if reference else ""
    inner = escape(text, {"\r": "&#13;"})
    return f'<c{where} t="inlineStr"><is><t xml:space="preserve">{inner}</t></is></c>'


def workbook(parts: dict[str, str | bytes]) -> bytes:
    """Return an xlsx file of the parts that all have, and these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**XLSX_PARTS, **parts}.items():
            archive.writestr(name, content)
    return file.getvalue()


# XML holds no other control characters, and Excel's way of writing them begins like this.
_sheet_texts = st.one_of(st.sampled_from(_TEXTS), st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=6))


@st.composite
def xlsx_parts(draw: Any) -> tuple[dict[str, str], list[str], list[list[str]]]:
    """Draw the parts of a workbook, the header and the rows."""
    names, rows = draw(
        grids(_sheet_texts.filter(lambda text: "_x" not in text and "\ufffe" not in text and "\uffff" not in text))
    )
    is_shared, has_references = draw(st.booleans()), draw(st.booleans())
    strings: list[str] = []
    lines_: list[str] = []
    for row, texts in enumerate([names, *rows], start=1):
        written = []
        for column, text in enumerate(texts):
            reference = f"{'ABCDEFGH'[column]}{row}" if has_references else ""
            if is_shared:
                where = f' r="{reference}"' if reference else ""
                written.append(f'<c{where} t="s"><v>{len(strings)}</v></c>')
                strings.append(f'<si><t xml:space="preserve">{escape(text)}</t></si>')
            else:
                written.append(text_cell(reference, text))
        lines_.append(
            f'<row r="{row}">{"".join(written)}</row>' if has_references else f"<row>{''.join(written)}</row>"
        )
    parts = {"xl/worksheets/sheet1.xml": sheet("".join(lines_))}
    if is_shared:
        count = f'count="{len(strings)}" uniqueCount="{len(strings)}"'
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{_MAIN}" {count}>{"".join(strings)}</sst>'
    return parts, names, rows


@st.composite
def xlsx_files(draw: Any) -> Written:
    parts, names, rows = draw(xlsx_parts())
    return Written(workbook(parts), names, rows)


@dataclass(frozen=True)
class References:
    """How an export writes its records.

    Attributes:
        suffix: Of the file.
        start: The first line of a record; {} is its number.
        tags: The tags of title, abstract and of a keyword, as they stand at the start of a line.
        end: The last line of a record.
    """

    suffix: str
    start: str
    tags: tuple[str, str, str]
    end: str


REFERENCES = {
    "ris": References(".ris", "TY  - JOUR\nID  - {}", ("TI  - ", "AB  - ", "KW  - "), "ER  - \n"),
    "nbib": References(".nbib", "PMID- {}", ("TI  - ", "AB  - ", "OT  - "), ""),
    "wos": References(".txt", "PT J\nUT {}", ("TI ", "AB ", "DE "), "ER\n"),
    "enw": References(".enw", "%0 Journal Article\n%M {}", ("%T ", "%X ", "%K "), ""),
    "refworks": References(".txt", "RT Journal Article\nID {}", ("T1 ", "AB ", "K1 "), ""),
}
_words = st.sampled_from(["aspirin", "mice", "a trial", "é", "汉字", "ratio: 1-2", "[see]", "n = 3"])


@st.composite
def reference_files(draw: Any, kind: str) -> Written:
    """Draw an export; its columns are id, title, abstract and Keywords."""
    form = REFERENCES[kind]
    records, rows = [], []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        title, abstract, keyword = draw(_words), draw(_words), draw(_words)
        texts = [form.start.format(number)]
        texts += [f"{tag}{text}" for tag, text in zip(form.tags, (title, abstract, keyword), strict=True)]
        records.append("\n".join([*texts, form.end]))
        # Elsewhere a tag of keywords is one keyword, so one with a sign that could separate is written as a list.
        cell = f'["{keyword}"]' if kind != "wos" and "-" in keyword else keyword
        rows.append([str(number), title, abstract, cell])
    head = "FN Clarivate Analytics Web of Science\nVR 1.0\n" if kind == "wos" else ""
    text = head + "\n".join(records) + ("EF" if kind == "wos" else "")
    data = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))).encode(
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    )
    return Written(data, ["id", "title", "abstract", "Keywords"], rows)
