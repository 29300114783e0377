"""Marks that sources leave in texts: tags, entities, Excel's `_x000D_`, asterisks of index terms, placeholders.

Each function leaves a text without such marks unchanged, formulas such as `p<0.05 and x>3` included.
"""

import html
import re
from html.entities import html5

# What `without_markup` may change. Fast enough for whole columns: most cells have none of them.
MARKUP = r"&#?\w+;|_x000[9AaDd]_|<[/!]?[A-Za-z]|<!-|<!\["
_MARKUP = re.compile(MARKUP)

_ENTITY = re.compile(r"&(#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")
# "_x000D_" with the line break that follows it is one line break.
_XLSX_ESCAPE = re.compile(r"_x000([9AaDd])_\n?")

# Stands for a line break that a tag makes, until those around it are known; no table has this character.
_BREAK = "\x00"
_ATTRIBUTES = r"""(?:\s+[A-Za-z_:][\w:.-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=]+))*\s*/?"""
# Tags that stand between paragraphs, so a line break takes their place.
_BLOCKS = (
    "br|div|sec|title|li|ul|ol|list|list-item|table|tr|td|th|h[1-6]|abstract|abstracttext|section|label|hr|"
    "disp-formula|jats:(?:p|sec|title|list|list-item|label|disp-formula)"
)
_INLINE = (
    "span|em|strong|sub|sup|inf|italic|bold|small|font|sc|underline|monospace|strike|named-content|styled-content|"
    "inline-formula|inline-graphic|tex-math|alternatives|ext-link|uri|xref|abbr|cite|math|mi|mo|mn|mrow|msub|msup|"
    r"mtext|mfrac|tt|code|center|big|(?:jats|mml|xhtml|ce|m|xlink|sb):[a-z][\w-]*"
)
# `a<b>c` is a formula: what is opened with one letter is a tag only if it is closed again.
_LETTER_PAIR = re.compile(rf"<([aibpuqs])({_ATTRIBUTES})>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK_TAG = re.compile(
    rf"<(?:{_BLOCKS}){_ATTRIBUTES}>|</(?:{_BLOCKS}|p)\s*>|<!--.*?-->|<!\[CDATA\[", re.IGNORECASE | re.DOTALL
)
_INLINE_TAG = re.compile(rf"<(?:{_INLINE}){_ATTRIBUTES}>|</(?:{_INLINE}|[aibuqs])\s*>", re.IGNORECASE)


# What databases, reference managers and programs write in place of a missing abstract or title. "None" is not among
# them: it may be what a column says.
_WHAT = r"(?:article|record|document|content|publication|item|database)"
_PLACEHOLDERS = (
    rf"(?:there is |this {_WHAT} has )?no (?:abstract|summary|title|(?:author )?keywords?)(?: (?:is |was |are |text )?"
    rf"(?:available|provided|supplied|found|given|present))?(?: (?:for|in) this {_WHAT})?",
    r"(?:an? |the )?(?:abstract|summary|title|keywords)(?: is| was| are)? (?:missing|(?:not|un) ?"
    rf"(?:available|provided|supplied|found|given))(?: (?:for|in) this {_WHAT})?",
    rf"this {_WHAT} (?:does not have|has no|doesn't have) an? abstract",
    r"not available|first page of the article|#?n/?a|nan|null|<na>",
    r"(?:暂|暫)?[无無](?:摘要)?|摘要缺失|没有摘要|抄録なし|要旨なし|초록 없음",
    r"keine? (?:abstract|zusammenfassung)(?: verfügbar| vorhanden)?|(?:pas de résumé|résumé non)(?: disponible)?",
    r"resumen no disponible|sin resumen|resumo não disponível|sem resumo|riassunto non disponibile|нет аннотации",
    r"[-–—.?*\[\]{}]+",
)
_PLACEHOLDER = re.compile(rf"[\s\[(*]*(?:{'|'.join(_PLACEHOLDERS)})[\s\]).!*]*", re.IGNORECASE)
MAX_PLACEHOLDER = 100  # characters


def is_placeholder(cell: str) -> bool:
    """Whether a cell only says that there is nothing, such as `[No abstract available]` or `n/a`."""
    return len(cell) <= MAX_PLACEHOLDER and _PLACEHOLDER.fullmatch(cell) is not None


def without_markup(text: str) -> str:
    """Return a text without tags and entities of HTML and JATS, and without Excel's escaped line breaks."""
    if not _MARKUP.search(text):
        return text
    text = _XLSX_ESCAPE.sub(lambda match: "\t" if match[1] == "9" else "\n", text)
    return without_tags(without_entities(text))


def without_entities(text: str) -> str:
    """Return a text with characters in place of entities; `&amp;lt;`, as Crossref has it, is `<`."""
    for _ in range(2):
        if "&" in text:
            text = _ENTITY.sub(_character, text)
    return text


def without_tags(text: str) -> str:
    """Return a text without the tags of HTML and JATS; where one separates paragraphs, there is a blank."""
    if "<" not in text:
        return text
    plain = text
    while "</" in plain and plain != (
        outer := _LETTER_PAIR.sub(_content, plain)
    ):  # `<p><i>x</i></p>`: from outside to inside
        plain = outer
    plain = _BLOCK_TAG.sub(_BREAK, plain)
    if "<![CDATA[" in text:
        plain = plain.replace("]]>", _BREAK)
    plain = _INLINE_TAG.sub("", plain)
    return "\n".join(filter(None, map(str.strip, plain.split(_BREAK)))) if _BREAK in plain else plain


def without_asterisks(keyword: str) -> str:
    """Return an index term without the asterisk of major topics, as PubMed and Embase write it.

    The asterisk stands before a heading or a subheading (`*Asthma`, `Asthma/*drug therapy`), or behind a keyword.
    Behind a word of capitals it is part of a name, such as A* or RRT*.
    """
    if "*" not in keyword:
        return keyword
    plain = re.sub(r"^[\s*]+|(?<=/)\s*\*+\s*", "", keyword)
    return plain if re.search(r"(?:^|\s)[A-Z]+\*$", plain) else plain.rstrip("* ")


def _character(match: re.Match[str]) -> str:
    name = match[1]
    if name.startswith("#"):
        found = html.unescape(match[0])
        return found if found.isprintable() or found in "\n\t\u3000" else " "
    return html5.get(f"{name};", match[0]).replace("\u00a0", " ")


def _content(match: re.Match[str]) -> str:
    return f"{_BREAK}{match[3]}{_BREAK}" if match[1] in "pP" else match[3]
