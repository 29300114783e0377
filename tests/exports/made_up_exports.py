"""Small exports with made-up papers and the headers or tags that the sources' own files have.

A header is written with what stands below it: text in which {title} and the other keys of `PAPERS` are filled in.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xlsxwriter

_LIFE = {
    "algae": ("浅水湖泊藻类调查", "本文每月采集湖水样品，统计藻类数量，并讨论夏季高温的影响。"),
    "carp": ("鲤鱼种群的十年变化", "通过标记重捕的方法估计鲤鱼种群，发现其在干旱之后减少。"),
    "mussels": ("河蚌与水质", "我们比较了三处岸边的河蚌密度，浑浊的水中个体更小也更少。"),
    "herons": ("苍鹭繁殖地的选择", "沿湖岸记录巢的位置，老树附近的巢最多，人类活动使鸟类离开。"),
    "rushes": ("灯心草的恢复实验", "围栏阻止了放牧，两个生长季以后植被覆盖率增加了一倍。"),
    "newts": ("蝾螈对道路的反应", "春季迁徙时在公路两侧设置陷阱，隧道能够降低死亡率。"),
}
PAPERS = [
    {
        "n": str(n),
        "title": f"A census of {life} in a shallow lake",
        "abstract": f"We counted the {life} of one lake for {n + 2} years; their number fell in each warm summer.",
        "authors": "Roe, Sam; Poe, Kim",
        "keywords": f"{life}; lake ecology",
        "zh_title": chinese[0],
        "zh_abstract": chinese[1],
        "label": str(n % 2),
        "answer": ("Excluded", "Included")[n % 2],
    }
    for n, (life, chinese) in enumerate(_LIFE.items())
]
ZERO_OR_ONE = {"included": "{label}"}


@dataclass(frozen=True)
class Export:
    """A file of a source, and what `init` should find in it.

    Attributes:
        source: The source.
        file: The file's name.
        content: Its bytes, for the papers.
        document: The columns of the document.
        id: The id column.
        named: What is named on the command line: the kind, and the column.
        warnings: The beginnings of what `init` says.
    """

    source: str
    file: str
    content: bytes
    document: tuple[str, ...]
    id: str | None
    named: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write the file, and return its path."""
        path = folder / self.file
        path.write_bytes(self.content)
        return path


def filled(text: str, paper: Mapping[str, str]) -> str:
    """Return text with the values of a paper; other braces stay."""
    for name, value in paper.items():
        text = text.replace("{" + name + "}", value)
    return text


def rows_of(columns: Mapping[str, str]) -> list[list[str]]:
    return [list(columns), *([filled(text, paper) for text in columns.values()] for paper in PAPERS)]


def as_csv(columns: Mapping[str, str], *, delimiter: str = ",", first_line: str = "") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    if first_line:
        writer.writerow([first_line])
    writer.writerows(rows_of(columns))
    return text.getvalue().encode("utf-8-sig")


def as_xlsx(columns: Mapping[str, str], *, first_line: str = "") -> bytes:
    file = io.BytesIO()
    workbook = xlsxwriter.Workbook(file)
    sheet = workbook.add_worksheet()
    for number, row in enumerate(([[first_line]] if first_line else []) + rows_of(columns)):
        sheet.write_row(number, 0, row)
    workbook.close()
    return file.getvalue()


def as_json_lines(record: Callable[[Mapping[str, str]], Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(record(paper)) + "\n" for paper in PAPERS).encode()


def as_tags(lines: Sequence[str], between: str = "  - ", last: str = "ER  - \n") -> bytes:
    """Return records of tagged lines: "TI {title}", with the tag up to the first blank."""
    records = ["\n".join(f"{tag}{between}{text}" for tag, _, text in (each.partition(" ") for each in lines))]
    return "\n".join(filled(record, paper) + "\n" + last for paper in PAPERS for record in records).encode()


_RIS_OF_OTHERS = ("VL 12", "IS 3", "SP 10", "EP 19", "DO 10.9999/lake.{n}", "PY 2020")
_KEYWORD_LINES = ("KW lake ecology", "KW {title}")
_LABEL = {"label": "included"}
_KEYWORDS = {"keywords": "Keywords"}

EXPORTS = [
    Export(
        "Zotero",
        "My Library.csv",
        as_csv(
            {
                **{"Key": "ABCD{n}", "Item Type": "journalArticle", "Publication Year": "2020", "Author": "{authors}"},
                **{"Title": "{title}", "Publication Title": "Journal of Lakes", "ISSN": "", "DOI": "10.9999/{n}"},
                **{"Url": "https://example.org/{n}", "Abstract Note": "{abstract}", "Date": "2020-01-0{n}"},
                **{"Short Title": "Census", "Series Title": "", "Language": "en", "Extra": "", "Notes": ""},
                **{"Manual Tags": "{keywords}", "Automatic Tags": "", **ZERO_OR_ONE},
            }
        ),
        ("Title", "Abstract Note"),
        "Key",
        _LABEL,
    ),
    Export(
        "Web of Science, full names",
        "savedrecs.xlsx",
        as_xlsx(
            {
                **{"Publication Type": "J", "Authors": "Roe, S; Poe, K", "Book Authors": "", "Author Full Names": ""},
                **{"Article Title": "{title}", "Source Title": "JOURNAL OF LAKES", "Book Series Title": ""},
                **{"Language": "English", "Document Type": "Article", "Conference Title": ""},
                **{"Author Keywords": "{keywords}", "Keywords Plus": "WATER", "Abstract": "{abstract}"},
                **{"Addresses": "[Roe, S] Univ Lake, Lake Town", "DOI": "10.9999/{n}", "Publication Year": "2020"},
                **{"UT (Unique WOS ID)": "WOS:00000{n}", "Web of Science Record": "0", **ZERO_OR_ONE},
            }
        ),
        ("Article Title", "Abstract"),
        "UT (Unique WOS ID)",
        _LABEL,
    ),
    *(
        Export(
            f"Web of Science, tab-delimited, {kind}",
            "savedrecs.txt",
            change(
                as_csv(
                    {
                        **{"PT": "J", "AU": "Roe, S; Poe, K", "AF": "Roe, Sam; Poe, Kim", "TI": "{title}"},
                        **{
                            "SO": "J LAKES",
                            "LA": "English",
                            "DT": "Article",
                            "DE": "{keywords}",
                            "ID": "WATER; SUMMER",
                        },
                        **{"AB": "{abstract}", "C1": "Univ Lake", "PY": "2020", "DI": "10.9999/{n}"},
                        **{"UT": "WOS:00000{n}", **ZERO_OR_ONE},
                    },
                    delimiter="\t",
                )
            ),
            ("TI", "AB"),
            "UT",
            _LABEL,
            said,
        )
        for kind, change, said in (
            ("UTF-8", lambda content: content, ()),
            (
                "UTF-16 with trailing tabs",
                lambda content: content.replace(b"\r\n", b"\t\r\n").decode().encode("utf-16"),
                ("{path}: 1 column has neither a name nor a cell and is left out",),
            ),
        )
    ),
    Export(
        "Web of Science, plain text",
        "savedrecs (1).txt",
        b"\xef\xbb\xbfFN Clarivate Analytics Web of Science\nVR 1.0\n"
        + as_tags(
            [
                *("PT J", "AU Roe, S", "AF Roe, Sam", "TI {title}", "SO JOURNAL OF LAKES", "LA English", "DT Article"),
                *("DE {keywords}", "ID WATER; SUMMER", "AB {abstract}", "PY 2020", "DI 10.9999/{n}", "UT WOS:00000{n}"),
            ],
            between=" ",
            last="ER\n\n",
        )
        + b"EF\n",
        ("title", "abstract"),
        "id",
        _KEYWORDS,
    ),
    Export(
        "Scopus",
        "scopus.csv",
        as_csv(
            {
                **{"Authors": "Roe S.; Poe K.", "Author full names": "{authors}", "Author(s) ID": "1; 2"},
                **{"Title": "{title}", "Year": "2020", "Source title": "Journal of Lakes", "Cited by": "{n}"},
                **{"DOI": "10.9999/{n}", "Link": "https://example.org/{n}", "Affiliations": "University of the Lake"},
                **{"Authors with affiliations": "Roe S., University of the Lake, Lake Town, and its institutes"},
                **{"Abstract": "{abstract}", "Author Keywords": "{keywords}", "Index Keywords": "Lakes; Water"},
                **{"Document Type": "Article", "Source": "Scopus", "EID": "2-s2.0-{n}", **ZERO_OR_ONE},
            }
        ),
        ("Title", "Abstract"),
        "EID",
        _LABEL,
    ),
    Export(
        "IEEE Xplore",
        "export2020.01.01.csv",
        as_csv(
            {
                **{"Document Title": "{title}", "Authors": "S. Roe; K. Poe", "Author Affiliations": "Univ. Lake"},
                **{"Publication Title": "2020 Conference on Lakes", "Date Added To Xplore": "1 January 2020"},
                **{"Publication Year": "2020", "Abstract": "{abstract}", "ISSN": "", "DOI": "10.9999/{n}"},
                **{"PDF Link": "https://example.org/{n}", "Author Keywords": "{keywords}", "IEEE Terms": "Lakes;Water"},
                **{"Mesh_Terms": "", "Document Identifier": "IEEE Conferences", **ZERO_OR_ONE},
            }
        ),
        ("Document Title", "Abstract"),
        "DOI",
        _LABEL,
    ),
    Export(
        "PubMed, csv",
        "csv-lakes-set.csv",
        as_csv(
            {
                **{"PMID": "3000{n}", "Title": "{title}", "Authors": "Roe S, Poe K.", "First Author": "Roe S"},
                **{"Citation": "J Lakes. 2020 Jan;12(3):10-19. doi: 10.9999/{n}.", "Journal/Book": "J Lakes"},
                **{"Publication Year": "2020", "Create Date": "2020/01/01", "PMCID": "", "NIHMS ID": ""},
                **{"DOI": "10.9999/{n}", **ZERO_OR_ONE},
            }
        ),
        ("Title",),
        "PMID",
        _LABEL,
        ('{path}: no abstract was found, so the model reads only "Title". The other columns are Authors, First ',),
    ),
    Export(
        "PubMed, nbib",
        "pubmed-lakes-set.nbib",
        as_tags(
            [
                *("PMID 3000{n}", "OWN NLM", "TI {title}", "PG 10-19", "LID 10.9999/{n} [doi]", "AB {abstract}"),
                *("FAU Roe, Sam", "AU Roe S", "LA eng", "PT Journal Article", "JT Journal of lakes"),
                *("OT {title}", "OT lake ecology", "DP 2020 Jan"),
            ],
            between="- ",
            last="",
        ).replace(b"\nTI-", b"\nTI  -"),
        ("title", "abstract"),
        "id",
        _KEYWORDS,
    ),
    Export(
        "Embase",
        "records.csv",
        as_csv(
            {
                **{"Title": "{title}", "Original non-English title": "", "Author Names": "Roe S.; Poe K."},
                **{"Author Addresses": "Roe S., University of the Lake, Lake Town", "Source": "Journal of Lakes 12:3"},
                **{"Source title": "Journal of Lakes", "Publication Year": "2020", "Publication Type": "Article"},
                **{"Abstract": "{abstract}", "Original Non-English Abstract": "", "Author Keywords": "{keywords}"},
                **{"Emtree Medical Index Terms (Major Focus)": "lake", "Emtree Medical Index Terms": "lake, water"},
                **{"Embase Accession ID": "L20{n}", "Medline PMID": "", "PUI": "L20{n}", "DOI": "10.9999/{n}"},
                **{"Embase Link": "https://example.org/{n}", "Copyright": "Copyright 2020", **ZERO_OR_ONE},
            }
        ),
        ("Title", "Abstract"),
        "Embase Accession ID",
        _LABEL,
    ),
    Export(
        "Ovid, table",
        "citation.xlsx",
        as_xlsx(
            {
                **{"VN": "Ovid Technologies", "DB": "Embase", "UI": "20{n}", "AU": "Roe S.", "TI": "{title}"},
                **{"SO": "Journal of Lakes. 12(3):10-19", "KW": "{keywords}", "AB": "{abstract}", "PT": "Article"},
                **{"LG": "English", "YR": "2020", **ZERO_OR_ONE},
            }
        ),
        ("TI", "AB"),
        "UI",
        _LABEL,
    ),
    Export(
        "Ovid, RIS",
        "citation.ris",
        as_tags(
            [
                *(
                    "TY JOUR",
                    "ID 20{n}",
                    "T1 {title}",
                    "A1 Roe S.",
                    "Y1 2020//",
                    "N2 {abstract}",
                    "JF Journal of Lakes",
                ),
                *(*_KEYWORD_LINES, *_RIS_OF_OTHERS, "UR https://example.org/{n}"),
            ]
        ),
        ("title", "abstract"),
        "id",
        _KEYWORDS,
    ),
    Export(
        "EBSCO, csv",
        "delivery.csv",
        as_csv(
            {
                **{"Article Title": "{title}", "Author": "Roe, Sam", "Journal Title": "Journal of Lakes", "ISSN": ""},
                **{"Publication Date": "20200101", "Volume": "12", "Issue": "3", "First Page": "10", "Page Count": "9"},
                **{"Accession Number": "140{n}", "DOI": "", "Publisher": "Lake Press", "Doctype": "Article"},
                **{"Subjects": "LAKES; WATER", "Keywords": "{keywords}", "Abstract": "{abstract}"},
                **{"PLink": "https://example.org/{n}", **ZERO_OR_ONE},
            }
        ),
        ("Article Title", "Abstract"),
        "Accession Number",
        _LABEL,
    ),
    Export(
        "ProQuest",
        "ProQuestDocuments.xlsx",
        as_xlsx(
            {
                **{"Title": "{title}", "Abstract": "{abstract}", "StoreId": "23{n}", "AccessionNumber": ""},
                **{"AlternateTitle": "", "ArticleType": "Journal Article", "Authors": "{authors}", "pubtitle": "Lakes"},
                **{"identifierKeywords": "{keywords}", "subjectTerms": "Lakes", "year": "2020", **ZERO_OR_ONE},
            }
        ),
        ("Title", "Abstract"),
        "StoreId",
        _LABEL,
    ),
    *(
        Export(
            f"Dimensions, {file}",
            file,
            write(
                {
                    **{"Rank": "{n}", "Publication ID": "pub.{n}", "DOI": "10.9999/{n}", "PMID": "", "PMCID": ""},
                    **{"Title": "{title}", "Abstract": "{abstract}", "Acknowledgements": "", "Funding": ""},
                    **{"Source title": "Journal of Lakes", "Anthology title": "", "MeSH terms": "", "PubYear": "2020"},
                    **{"Authors": "{authors}", "Times cited": "{n}", **ZERO_OR_ONE},
                },
                first_line='About the data: Exported on Jan 01, 2020. Criteria: "lake"; © 2020 Digital Science.',
            ),
            ("Title", "Abstract"),
            "Publication ID",
            _LABEL,
        )
        for file, write in (("Dimensions-Publication.csv", as_csv), ("Dimensions-Publication.xlsx", as_xlsx))
    ),
    Export(
        "Lens",
        "lens-export.csv",
        as_csv(
            {
                **{"#": "{n}", "Lens ID": "000-{n}", "Title": "{title}", "Date Published": "2020-01-01"},
                **{"Publication Type": "journal article", "Source Title": "Journal of Lakes", "Author/s": "{authors}"},
                **{"Abstract": "{abstract}", "Fields of Study": "Ecology; Limnology", "Keywords": "{keywords}"},
                **{"Source URLs": "https://example.org/{n}", "PMID": "", "Citing Works Count": "{n}", **ZERO_OR_ONE},
            }
        ),
        ("Title", "Abstract"),
        "Lens ID",
        _LABEL,
    ),
    Export(
        "OpenAlex",
        "works.csv",
        as_csv(
            {
                **{"id": "https://openalex.org/W{n}", "doi": "https://doi.org/10.9999/{n}", "title": "{title}"},
                **{"display_name": "{title}", "publication_year": "2020", "abstract": "{abstract}"},
                **{"primary_location_source_display_name": "Journal of Lakes", "language": "en", **ZERO_OR_ONE},
            }
        ),
        ("title", "abstract"),
        "id",
        _LABEL,
    ),
    Export(
        "Semantic Scholar",
        "papers.jsonl",
        as_json_lines(
            lambda paper: {
                "paperId": f"f00{paper['n']}",
                "externalIds": {"DOI": f"10.9999/{paper['n']}"},
                "title": paper["title"],
                "abstract": paper["abstract"],
                "venue": "Journal of Lakes",
                "year": 2020,
                "authors": [{"authorId": "1", "name": "Sam Roe"}],
                "tldr": {"model": "tldr@v2.0.0", "text": "Fewer animals in warm summers, counted for years."},
                "included": int(paper["label"]),
            }
        ),
        ("title", "abstract"),
        "paperId",
        _LABEL,
    ),
    Export(
        "arXiv, API",
        "arxiv.jsonl",
        as_json_lines(
            lambda paper: {
                "id": f"http://arxiv.org/abs/2001.0000{paper['n']}v1",
                "title": paper["title"],
                "summary": paper["abstract"],
                "authors": ["Sam Roe", "Kim Poe"],
                "arxiv_primary_category": "q-bio.PE",
                "links": ["https://example.org"],
                "included": paper["label"],
            }
        ),
        ("title", "summary"),
        "id",
        _LABEL,
    ),
    Export(
        "CNKI",
        "CNKI.xlsx",
        as_xlsx(
            {
                **{
                    "SrcDatabase-来源库": "期刊",
                    "Title-题名": "{zh_title}",
                    "Author-作者": "李四;",
                    "Organ-单位": "湖泊大学",
                },
                **{"Source-文献来源": "湖泊学报", "Keyword-关键词": "湖泊;;藻类", "Summary-摘要": "{zh_abstract}"},
                **{
                    "PubTime-发表时间": "2020-01-01",
                    "FirstDuty-第一责任人": "李四",
                    "Fund-基金": "",
                    "Year-年": "2020",
                },
                **{"URL-网址": "https://example.org/{n}", "DOI-DOI": "", **ZERO_OR_ONE},
            }
        ),
        ("Title-题名", "Summary-摘要"),
        None,
        _LABEL,
    ),
    Export(
        "CNKI, EndNote",
        "CNKI.txt",
        as_tags(
            [
                *("%0 Journal Article", "%A 李四", "%+ 湖泊大学", "%T {zh_title}", "%J 湖泊学报", "%D 2020", "%V 12"),
                *("%K 湖泊;藻类", "%X {zh_abstract}", "%P 10-19", "%@ 1000-000{n}", "%L 11-0000/{n}", "%W CNKI"),
            ],
            between=" ",
            last="\n\n",
        ),
        ("title", "abstract"),
        None,
        _KEYWORDS,
    ),
    Export(
        "Wanfang",
        "Wanfang.xlsx",
        as_xlsx(
            {
                **{
                    "序号": "{n}",
                    "题名": "{zh_title}",
                    "作者": "李四",
                    "作者单位": "湖泊大学",
                    "刊名": "湖泊学报",
                    "年": "2020",
                },
                **{"关键词": "湖泊;藻类", "摘要": "{zh_abstract}", "DOI": "", "是否纳入": "{label}"},
            }
        ),
        ("题名", "摘要"),
        "序号",
        {"label": "是否纳入"},
    ),
    Export(
        "ASReview, table",
        "asreview_result.csv",
        as_csv(
            {
                **{"record_id": "{n}", "title": "{title}", "abstract": "{abstract}", "authors": "{authors}"},
                **{"keywords": "{keywords}", "asreview_label": "{label}", "asreview_time": "", "asreview_note": ""},
                **{"asreview_ranking": "{n}"},
            }
        )
        + b'6,A note on reeds,"We saw reeds, and left them where they were.","Roe, Sam",reeds,-1,,,6\r\n',
        ("title", "abstract"),
        "record_id",
        {"label": "asreview_label"},
        ('{path}, column "asreview_label": read as not labelled: 1 with -1. Such rows are not ',),
    ),
    Export(
        "ASReview, RIS",
        "asreview_result.ris",
        as_tags(
            [
                *("TY JOUR", "ID 20{n}", "T1 {title}", "A1 Roe, S.", "AB {abstract}", *_RIS_OF_OTHERS),
                "N1 ASReview_{label}",
            ]
        )
        .replace(b"ASReview_1", b"ASReview_relevant")
        .replace(b"ASReview_0", b"ASReview_irrelevant"),
        ("title", "abstract"),
        "id",
        {"label": "asreview_label"},
    ),
    Export(
        "Rayyan, csv",
        "customizations_log.csv",
        as_csv(
            {
                **{
                    "key": "rayyan-{n}",
                    "title": "{title}",
                    "year": "2020",
                    "month": "1",
                    "day": "1",
                    "journal": "J Lakes",
                },
                **{"issn": "", "volume": "12", "issue": "3", "pages": "10-19", "authors": "Roe, Sam and Poe, Kim"},
                **{"url": "https://example.org/{n}", "language": "eng", "publisher": "", "location": ""},
                **{"abstract": "{abstract}", "notes": 'RAYYAN-INCLUSION: {"Ann"=>"{answer}"} | RAYYAN-LABELS: field'},
                **{"doi": "", "keywords": "{keywords}"},
            }
        ),
        ("title", "abstract"),
        "key",
        {"label": "rayyan_inclusion"},
    ),
    Export(
        "Rayyan, RIS",
        "articles.ris",
        as_tags(
            [
                *("TY JOUR", "ID rayyan-{n}", "TI {title}", "AU Roe, S.", "AB {abstract}", *_RIS_OF_OTHERS),
                'N1 RAYYAN-INCLUSION: {"Ann"=>"{answer}", "Bob"=>"{answer}"}',
            ]
        ),
        ("title", "abstract"),
        "id",
        {"label": "rayyan_inclusion"},
    ),
    Export(
        "Covidence",
        "review_1_included_csv.csv",
        as_csv(
            {
                **{"Title": "{title}", "Authors": "{authors}", "Abstract": "{abstract}", "Published Year": "2020"},
                **{
                    "Published Month": "",
                    "Journal": "Journal of Lakes",
                    "Volume": "12",
                    "Issue": "3",
                    "Pages": "10-19",
                },
                **{"Accession Number": "", "DOI": "10.9999/{n}", "Ref": "", "Covidence #": "#{n}", "Study": "Roe 2020"},
                **{"Notes": "Ann: to be discussed with Bob, see the protocol", "Tags": "field; {answer}"},
            }
        ),
        ("Title", "Abstract"),
        "Covidence #",
        {"labels": "Tags"},
    ),
    Export(
        "EndNote",
        "My EndNote Library.ris",
        as_tags(
            [
                *("TY JOUR", "AB {abstract}", "AD University of the Lake", "AN 140{n}", "AU Roe, Sam", "AU Poe, Kim"),
                *("DA Jan", "DB Lakes", "ID 9{n}", *_KEYWORD_LINES, "LA English", "N1 Export Date: 1 January 2020"),
                *("ST A census", "T2 Journal of Lakes", "TI {title}", *_RIS_OF_OTHERS),
            ]
        ),
        ("title", "abstract"),
        "id",
        _KEYWORDS,
    ),
    Export(
        "EndNote, Refer/BibIX",
        "My EndNote Library.enw",
        as_tags(
            [
                *("%0 Journal Article", "%A Roe, Sam", "%T {title}", "%J Journal of Lakes", "%D 2020", "%M 140{n}"),
                *("%K lake ecology", "%X {abstract}", "%R 10.9999/{n}"),
            ],
            between=" ",
            last="\n\n",
        ),
        ("title", "abstract"),
        "id",
        _KEYWORDS,
    ),
    Export(
        "Mendeley",
        "My Collection.ris",
        as_tags(
            [
                *("TY JOUR", "T1 {title}", "A1 Roe, Sam", "Y1 2020///", *_KEYWORD_LINES, "JF Journal of Lakes"),
                *("N2 {abstract}", *_RIS_OF_OTHERS),
            ]
        ),
        ("title", "abstract"),
        "doi",
        _KEYWORDS,
    ),
    Export(
        "rispy",
        "rispy.csv",
        as_csv(
            {
                **{
                    "type_of_reference": "JOUR",
                    "id": "2{n}",
                    "primary_title": "{title}",
                    "notes_abstract": "{abstract}",
                },
                **{"first_authors": "['Roe, S.']", "year": "2020", "secondary_title": "Journal of Lakes"},
                **{"notes": "['read']", "publication_year": "2020", "short_title": "Census", **ZERO_OR_ONE},
            }
        ),
        ("primary_title", "notes_abstract"),
        "id",
        _LABEL,
    ),
]
