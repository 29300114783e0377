"""The repository's Markdown pages as the pages of a site in two languages.

A page keeps its place in the tree, so that its relative links work in the site as they do on GitHub. Both languages
have the same pages: X.zh-CN.md takes the place of X.md in Chinese, and pages without one stay English. Headings have
the same anchors in both, those of the English page as GitHub makes them.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from notebook_page import notebook_page

SUFFIX = ".zh-CN.md"
READERS = ("docs/for-students.md", "docs/for-librarians.md", "docs/for-engineers.md")
HOME, API = "README.md", "docs/api.md"
_UNTRANSLATED = "!!! note\n\n    本页还没有中文版。\n\n"
_FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+ .*)$", re.MULTILINE)
_SWITCH = re.compile(r"^\[(?:中文|English)\]\([^)]+\)\n\n", re.MULTILINE)
# A line break between two Chinese characters would be shown as a blank.
_WRAPPED = re.compile(r"(?<=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])\n(?=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])")


class SiteError(Exception):
    """A page that the site cannot have as it is."""


@dataclass(frozen=True)
class Language:
    """A language of the site.

    Attributes:
        code: As in HTML; also the name of its folder.
        name: As its readers call it.
        folder: Where its pages lie in the site, from the root; "" for the root.
        home: The first page's title in the navigation.
        api: The API reference's title in the navigation.
    """

    code: str
    name: str
    folder: str
    home: str
    api: str


ENGLISH = Language("en", "English", "", "Home", "API reference")
CHINESE = Language("zh", "中文", "zh-CN/", "首页", "API 参考")


def english_pages(root: Path) -> list[str]:
    """Return the English pages of a repository, relative to its root; a notebook is a page whose name ends in .md."""
    notebooks = [file.with_suffix(".md") for file in (root / "examples").glob("*.ipynb")]
    files = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *notebooks]
    return sorted(file.relative_to(root).as_posix() for file in files if not file.name.endswith(SUFFIX))


def write_pages(root: Path, language: Language, folder: Path) -> None:
    """Write the pages in one language, and the files that they link to.

    Raises:
        SiteError: If a Chinese page has other headings than the English one.
    """
    for page in english_pages(root):
        place = folder / page
        place.parent.mkdir(parents=True, exist_ok=True)
        text = page_text(root, page, language)
        notebook = (root / (page.replace(".md", SUFFIX) if language is CHINESE else page)).with_suffix(".ipynb")
        if notebook.exists():
            shutil.copy(notebook, place.with_suffix(".ipynb"))
            text += f'\n<a href="{place.stem}.ipynb" download>{place.stem}.ipynb</a>\n'
        place.write_text(text, "utf-8")
        for target in sorted(set(_LINK.findall(outside_fences(text)))):
            _copy_file(root, page, target, folder)
    shutil.copy(root / "website" / "api.md", folder / API)


def page_text(root: Path, page: str, language: Language) -> str:
    """Return the text of a page of the site, in Markdown."""
    english, chinese = _read(root / page), _read(root / page.replace(".md", SUFFIX))
    text = chinese if language is CHINESE and chinese else english
    ids = anchors(english)
    if len(anchors(text)) != len(ids):
        raise SiteError(
            f"{page.replace('.md', SUFFIX)}: it has {len(anchors(text))} headings, but {page} has {len(ids)}."
        )
    numbers = iter(ids)
    text = _outside(_HEADING, lambda match: f"{match[1]} {{#{next(numbers)}}}", text)
    text = _outside(_LINK, lambda match: f"]({_link(root, page, match[1])})", text)
    text = _SWITCH.sub("", text, count=1)
    if language is CHINESE:
        text = _outside(_WRAPPED, "", text)
    if language is CHINESE and not chinese:
        title, rest = text.split("\n", 1)
        text = f"{title}\n\n{_UNTRANSLATED}{rest.lstrip()}"
    return text


def anchors(text: str) -> list[str]:
    """Return the anchors of a page's headings in their order, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", outside_fences(text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        numbered = (f"{anchor}-{number}" if number else anchor for number in count())
        found.append(next(each for each in numbered if each not in found))
    return found


def navigation(root: Path, language: Language) -> list[dict[str, Any]]:
    """Return the pages by reader, in the order of the three pages for readers; these name and group all others.

    Raises:
        SiteError: If a page of the repository is on none of the three.
    """
    sections: list[dict[str, Any]] = []
    seen = {HOME, *READERS}
    for reader in READERS:
        text = page_text(root, reader, language)
        listed = [page for page in _listed(reader, text) if page[1] not in seen]
        seen |= {page for _, page in listed}
        title = re.sub(r" \{#.*", "", text.split("\n", 1)[0].removeprefix("# "))
        sections.append({title: [{title: reader}, *({name: page} for name, page in listed)]})
    if missing := [page for page in english_pages(root) if page not in seen]:
        readers = ", ".join(READERS)
        raise SiteError(f"{', '.join(missing)}: on none of {readers}. Add a line to the one whose readers need it.")
    sections[-1][next(iter(sections[-1]))].append({language.api: API})
    return [{language.home: HOME}, *sections]


def outside_fences(text: str) -> str:
    """Return a text without its fenced blocks."""
    return _FENCE.sub("", text)


def _outside(pattern: re.Pattern[str], replacement: Any, text: str) -> str:
    """Replace what is not in a fenced block."""
    parts = _FENCE.split(text)
    return "".join(part if number % 2 else pattern.sub(replacement, part) for number, part in enumerate(parts))


def _read(file: Path) -> str:
    """Return the text of a page, or of the notebook in its place; "" if there is neither."""
    if file.exists():
        return file.read_text("utf-8")
    notebook = file.with_suffix(".ipynb")
    return notebook_page(notebook) if notebook.exists() else ""


def _listed(page: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield title and place of the pages that a page lists."""
    for title, target in re.findall(r"^- \[([^]]+)\]\(([^)#]+\.md)\)", text, re.MULTILINE):
        yield title, _place(page, target)


def _place(page: str, target: str) -> str:
    """Return the place of a link's target from the repository's root.

    Raises:
        SiteError: If it is above the root.
    """
    parts: list[str] = []
    for part in (PurePosixPath(page).parent / target).parts:
        if part == "..":
            if not parts:
                raise SiteError(f"{page}: the link {target} leads out of the repository. Correct it.")
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _link(root: Path, page: str, target: str) -> str:
    """Return a link with the name and the anchor that its target has in the site."""
    path, mark, anchor = target.partition("#")
    path = path.replace(".ipynb", ".md")
    if re.match(r"[a-z]+:", target) or (path and not path.endswith(".md")):
        return target
    path = path.replace(SUFFIX, ".md")
    if not anchor:
        return path
    place = _place(page, path) if path else page
    names = dict(zip(anchors(_read(root / place.replace(".md", SUFFIX))), anchors(_read(root / place)), strict=False))
    return f"{path}{mark}{names.get(anchor, anchor)}"


def _copy_file(root: Path, page: str, target: str, folder: Path) -> None:
    """Copy a file that a page links to, unless it is a page or lies on another host."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:", target) or path.endswith(".md"):
        return
    place = _place(page, path)
    if (root / place).is_file():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / place, folder / place)
