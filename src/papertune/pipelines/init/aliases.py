"""The names that columns have in the exports of the usual sources, and how a header is compared with them.

The names are those of the sources' own files: Zotero, Web of Science (full names and two-letter tags), Scopus, IEEE
Xplore, PubMed, Embase, Ovid, EBSCO, ProQuest, Dimensions, Lens, OpenAlex, Semantic Scholar, arXiv, CNKI, Wanfang,
ASReview, Rayyan, Covidence, EndNote, rispy, Dublin Core; and the usual words of some languages.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# In each tuple the better column stands first.
TITLE = (
    *("title", "primary title", "article title", "document title", "paper title", "display name", "titles"),
    *("TI", "T1", "dc:title", "题名", "标题", "题目", "篇名", "中文题名", "英文题名", "題名", "標題", "題目"),
    *("Titel", "titre", "título", "titolo", "название", "заглавие", "タイトル", "論文名", "제목", "논문명"),
)
ABSTRACT = (
    *("abstract", "abstract note", "notes abstract", "abstract text", "abstracts", "AB", "N2"),
    *("summary", "summaries", "摘要", "文摘", "中文摘要", "内容摘要", "英文摘要", "dc:description", "description"),
    *("Zusammenfassung", "Kurzfassung", "résumé", "resumen", "resumo", "riassunto"),
    *("аннотация", "реферат", "要旨", "抄録", "초록", "요약"),
)
# The whole document in one column: for tables without an abstract.
TEXT = ("text", "document", "full text", "body", "content", "正文", "全文", "内容")
# Unique names of a paper; numbers of rows and DOIs, which papers may lack, come last.
ID = (
    *("uuid", "id", "record id", "paperId", "key", "item key", "PMID", "pubmed id", "UT (Unique WOS ID)", "UT", "EID"),
    *("accession number", "accession", "AN", "UI", "publication id", "lens id", "covidence #", "StoreId"),
    *("Embase Accession ID", "PUI", "corpus id", "arxiv id", "openalex id", "work id", "article id", "reference id"),
    *("refid", "item id", "study id", "pid"),
    *("doi", "编号", "序号", "#", "no"),
)
KEYWORDS = (
    *("author keywords", "keywords", "keyword", "keyphrases", "DE", "OT", "KW", "identifier keywords", "manual tags"),
    *(
        "关键词",
        "关键字",
        "中文关键词",
        "關鍵詞",
        "關鍵字",
        "Schlagwörter",
        "Schlüsselwörter",
        "mots clés",
        "palabras clave",
    ),
    *("palavras-chave", "parole chiave", "ключевые слова", "キーワード", "키워드"),
)
LABEL = (
    *("label", "labels", "class", "category", "included", "include", "label included", "asreview label"),
    *("rayyan inclusion", "decision", "final decision", "screening decision", "inclusion", "relevant", "relevance"),
    *("target", "verdict"),
    *("类别", "标签", "是否纳入"),
)
LABELS = ("topics", "topic", "categories", "tags", "subjects", "fields of study", "主题", "学科")

# A header with such a word, as the last resort.
_TITLE_WORDS = ("title", "titles", "题名", "标题", "题目", "篇名")
_ABSTRACT_WORDS = ("abstract", "abstracts", "summary", "摘要", "文摘")
# But the titles of something else than the paper, and facts about an abstract.
_NOT_A_TITLE = (
    *("source", "publication", "journal", "book", "series", "short", "secondary", "tertiary", "alternate", "original"),
    *("alternative", "conference", "proceedings", "container", "host", "parent", "anthology", "issue", "running"),
    *("abbreviated", "translated", "vernacular", "non", "section", "job", "meeting", "event", "standard", "author"),
    *("venue", "publisher", "url", "link", "id", "language", "length", "期刊", "会议", "来源", "丛书", "刊"),
)
_NOT_AN_ABSTRACT = (
    *("url", "link", "id", "language", "length", "available", "has", "inverted", "type", "number", "count", "source"),
    *("graphical", "original", "non", "copyright", "conference", "meeting", "来源", "语种"),
)
# What may give a label away or says nothing about the content; never part of a guessed document.
_NOT_CONTENT = (
    *("author", "authors", "affiliation", "affiliations", "address", "addresses", "institution", "institutions"),
    *("journal", "source", "publisher", "publication", "venue", "series", "conference", "citation", "citations"),
    *("note", "notes", "comment", "comments", "decision", "reason", "reasons", "exclusion", "inclusion", "reviewer"),
    *("screening", "label", "labels", "tag", "tags", "asreview", "rayyan", "covidence", "reference", "references"),
    *("url", "urls", "link", "links", "doi", "pdf", "file", "attachments", "funding", "funder", "acknowledgements"),
    *("rights", "copyright", "license", "keywords", "keyword", "inverted", "versions", "orcid", "email", "history"),
    *("作者", "单位", "机构", "来源", "刊名", "期刊", "备注", "基金", "关键词", "出版", "网址", "链接", "参考文献"),
)

_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>")
_LANGUAGE = re.compile(r"[\s_\-:.](en|eng|english|zh|cn|chinese|de|fr|es|pt|it|ru|ja|ko)$")


def normalised(header: str) -> str:
    """Return a header without case, accents, full width, blanks and punctuation; as it is if nothing is left."""
    plain = _plain(header)
    return re.sub(r"[\W_]", "", plain) or plain.strip()


def _plain(header: str) -> str:
    """Return a header in lower case, without accents and full width."""
    decomposed = unicodedata.normalize("NFKD", header)
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", kept).casefold()


@lru_cache
def forms(header: str) -> tuple[str, ...]:
    """Return the normalised forms under which a header is looked up, the surest first.

    After the whole header: without what stands in brackets or a language behind it ("Title {EN}", "abstract_en"), and
    each script of a header in two ("Title-题名").
    """
    bare = _BRACKETS.sub(" ", _plain(header)).strip()
    scripts = (re.sub(f"[{_CJK}]", " ", bare), re.sub(f"[^{_CJK}]", "", bare))
    candidates = (header, bare, _LANGUAGE.sub("", bare), *scripts)
    return tuple(dict.fromkeys(form for each in candidates if (form := normalised(each))))


def words(header: str) -> set[str]:
    """Return the words of a header in lower case: "notesAbstract" and "notes_abstract" have the same."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    return set(re.findall(r"[^\W_]+", _plain(split)))


def rank(header: str, names: Sequence[str]) -> int | None:
    """Return the place of a header among names, the best 0; None if it is none of them."""
    places = _places(tuple(names))
    return min((places[form] for form in forms(header) if form in places), default=None)


@lru_cache
def _places(names: tuple[str, ...]) -> dict[str, int]:
    """Return the place of each normalised name."""
    return {normalised(name): place for place, name in reversed(list(enumerate(names)))}


def is_title(header: str) -> bool:
    """Whether a header that is no known name has the word for a title of the paper."""
    return _has_word(header, _TITLE_WORDS) and not _has_word(header, _NOT_A_TITLE)


def is_abstract(header: str) -> bool:
    """Whether a header that is no known name has the word for an abstract."""
    return _has_word(header, _ABSTRACT_WORDS) and not _has_word(header, _NOT_AN_ABSTRACT)


def is_content(header: str) -> bool:
    """Whether a column may be part of a document: not persons, places of publication, notes or decisions."""
    return not _has_word(header, _NOT_CONTENT)


def _has_word(header: str, some: Sequence[str]) -> bool:
    """Whether a header has one of some words; Chinese ones may be part of a longer word."""
    own = words(header)
    return any(word in own or (not word.isascii() and word in header) for word in some)
