"""The docs site: all pages in both languages, links that lead somewhere, nothing from other hosts."""

import json
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import papertune

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "website"))

import make_site  # noqa: E402 - scripts, beside the settings of the site
import site_pages as pages  # noqa: E402

FOLDERS = {"en": "", "zh": "zh-CN/"}


class Page(HTMLParser):
    """What a page of the site links to, loads and can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids, self.switch, self.language = [], [], set(), {}, ""
        self.feed(text)

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.ids.add(attributes.get("id"))
        if tag == "html":
            self.language = attributes["lang"]
        if tag == "a" and "hreflang" in attributes:
            self.switch[attributes["hreflang"]] = attributes["href"]
        elif tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag in ("script", "img", "iframe") and "src" in attributes:
            self.loaded.append(attributes["src"])
        elif tag == "link" and attributes.get("rel") != "alternate":
            self.loaded.append(attributes["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site.build(tmp_path_factory.mktemp("docs") / "website")


@pytest.fixture(scope="module")
def html(site):
    return {file.relative_to(site).as_posix(): Page(file.read_text("utf-8")) for file in site.rglob("*.html")}


def place(page):
    return page.replace("README.md", "index.md").replace(".md", ".html")


@pytest.mark.slow
@pytest.mark.once
class TestSite:
    def test_every_page_is_there_in_both_languages(self, html):
        for page in [*pages.english_pages(ROOT), pages.API]:
            for language, folder in FOLDERS.items():
                assert html[f"{folder}{place(page)}"].language == language

    def test_links_lead_to_a_page_and_an_anchor(self, site, html):
        for name, page in html.items():
            for link in (*page.links, *page.loaded):
                path, _, anchor = unquote(link).partition("#")
                if re.match(r"[a-z]+:", link) or name.endswith("404.html"):
                    continue
                target = (site / name).parent / path if path else site / name
                target = target / "index.html" if target.is_dir() else target
                assert target.is_file(), f"{name}: {link}"
                if anchor and not anchor.startswith("__"):
                    linked = html[target.resolve().relative_to(site.resolve()).as_posix()]
                    assert anchor in linked.ids, f"{name}: {link}"

    def test_the_switch_leads_to_the_same_page(self, site, html):
        for name, page in html.items():
            if not name.endswith("404.html"):
                targets = {key: (site / name).parent / link for key, link in page.switch.items()}
                plain = name.removeprefix("zh-CN/")
                for language, folder in FOLDERS.items():
                    assert targets[language].resolve() == (site / folder / plain).resolve(), name

    def test_nothing_comes_from_another_host(self, html):
        loaded = {link for page in html.values() for link in page.loaded}
        assert loaded
        assert not [link for link in loaded if re.match(r"(https?:)?//", link)]

    def test_each_language_has_a_search_of_its_own(self, site):
        english, chinese = ((site / folder / "search.json").read_text("utf-8") for folder in FOLDERS.values())
        assert "Truncated prompts" in english
        assert "来源：标签列由谁回答" in chinese
        assert "来源：标签列由谁回答" not in english

    def test_the_reference_has_arguments_and_errors(self, html, site):
        page = (site / "docs" / "api.html").read_text("utf-8")
        assert {f"papertune.{name}" for name in papertune.__all__} <= html["docs/api.html"].ids
        assert "a mapping" in page  # of the arguments of `train`
        assert "papertune.Run.predict_file" in html["docs/api.html"].ids


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.once
def test_a_reader_searches_and_changes_the_language(address):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("PAPERTUNE_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in PAPERTUNE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        requests, mistakes = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: mistakes.append(error))
        for folder, words, found in (
            ("", "truncated prompts", "docs/pitfalls.html?h="),
            ("zh-CN/", "标签列由谁回答", "zh-CN/docs/sources.html?h="),
        ):
            page.goto(f"{address}{folder}docs/glossary.html")
            page.locator("[data-md-component=search] button").first.click()
            page.locator("input:visible").first.fill(words)  # it waits until there is one
            result = page.locator(f'a[href*="{found}"]').first
            playwright.expect(result).to_be_visible(timeout=120_000)
        page.goto(f"{address}zh-CN/docs/sources.html")
        page.hover(".md-select button")
        page.click("a[hreflang=en].md-select__link")
        playwright.expect(page).to_have_url(f"{address}docs/sources.html", timeout=120_000)
        playwright.expect(page.locator("h1")).to_contain_text("Sources")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
    assert mistakes == []
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]


def test_the_reference_names_all_that_is_public():
    named = re.findall(r"^::: papertune\.(\w+)$", (ROOT / "website" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(papertune.__all__)


@pytest.mark.parametrize("language", [pages.ENGLISH, pages.CHINESE], ids=lambda each: each.code)
def test_every_page_has_readers(language):
    sections = pages.navigation(ROOT, language)
    listed = [place for section in sections for item in section.values() if isinstance(item, list) for place in item]
    places = [place for item in listed for place in item.values()]
    assert sorted([pages.HOME, *places]) == sorted([*pages.english_pages(ROOT), pages.API])


class TestPages:
    @pytest.fixture
    def root(self, tmp_path):
        (tmp_path / "docs").mkdir()
        (tmp_path / "website").mkdir()
        (tmp_path / "README.md").write_text("# Name\n", "utf-8")
        for reader in pages.READERS:
            (tmp_path / reader).write_text("# Readers\n\n[中文](x.zh-CN.md)\n\n- [One](one.md): first\n", "utf-8")
        (tmp_path / "docs" / "one.md").write_text("# One\n\n[中文](one.zh-CN.md)\n\n## Part\n", "utf-8")
        (tmp_path / "docs" / "one.zh-CN.md").write_text("# 一\n\n[English](one.md)\n\n## 部分\n", "utf-8")
        return tmp_path

    def test_links_to_chinese_pages_and_anchors(self, root):
        text = (
            "# 二\n\n[一](one.zh-CN.md#部分)、[图](a.png)、[外](https://example.org/x.zh-CN.md)、[这里](#二)\n\n`````\n"
        )
        (root / "docs" / "two.md").write_text("# Two\n", "utf-8")
        (root / "docs" / "two.zh-CN.md").write_text(text, "utf-8")
        assert pages.page_text(root, "docs/two.md", pages.CHINESE) == (
            "# 二 {#two}\n\n[一](one.md#part)、[图](a.png)、[外](https://example.org/x.zh-CN.md)、[这里](#two)\n\n`````\n"
        )

    def test_a_page_without_translation_says_so_and_finds_chinese_anchors(self, root):
        (root / "docs" / "two.md").write_text("# Two\n\n[part](one.md#part)\n", "utf-8")
        assert pages.page_text(root, "docs/two.md", pages.CHINESE) == (
            "# Two {#two}\n\n!!! note\n\n    本页还没有中文版。\n\n[part](one.md#part)\n"
        )

    def test_the_line_with_the_other_language_is_left_out(self, root):
        assert pages.page_text(root, "docs/one.md", pages.ENGLISH) == "# One {#one}\n\n## Part {#part}\n"
        assert pages.page_text(root, "docs/one.md", pages.CHINESE) == "# 一 {#one}\n\n## 部分 {#part}\n"

    def test_other_headings_in_chinese_are_an_error(self, root):
        (root / "docs" / "one.zh-CN.md").write_text("# 一\n", "utf-8")
        with pytest.raises(pages.SiteError) as caught:
            pages.page_text(root, "docs/one.md", pages.CHINESE)
        assert str(caught.value) == "docs/one.zh-CN.md: it has 1 headings, but docs/one.md has 2."

    def test_a_page_without_readers_is_an_error(self, root):
        (root / "docs" / "lost.md").write_text("# Lost\n", "utf-8")
        with pytest.raises(pages.SiteError) as caught:
            pages.navigation(root, pages.ENGLISH)
        assert str(caught.value) == (
            "docs/lost.md: on none of docs/for-students.md, docs/for-librarians.md, docs/for-engineers.md. "
            "Add a line to the one whose readers need it."
        )

    def test_a_page_stands_with_its_first_readers(self, root):
        assert pages.navigation(root, pages.CHINESE)[:2] == [
            {"首页": "README.md"},
            {"Readers": [{"Readers": "docs/for-students.md"}, {"One": "docs/one.md"}]},
        ]

    def test_chinese_lines_are_joined_outside_code(self, root):
        text = "# 一\n\n前半，\n后半 word\n续 `a`\n\n- 项\n- 项\n\n```text\n甲\n乙\n```\n\n## 部分\n"
        (root / "docs" / "one.zh-CN.md").write_text(text, "utf-8")
        assert pages.page_text(root, "docs/one.md", pages.CHINESE) == (
            "# 一 {#one}\n\n前半，后半 word\n续 `a`\n\n- 项\n- 项\n\n```text\n甲\n乙\n```\n\n## 部分 {#part}\n"
        )

    def test_a_notebook_is_a_page(self, root):
        cells = [
            {"cell_type": "markdown", "source": ["# Title\n", "\n", "words"]},
            {
                "cell_type": "code",
                "source": ["1 + 1"],
                "outputs": [
                    {"output_type": "stream", "text": ["said\n"]},
                    {"output_type": "execute_result", "data": {"text/html": ["<b>2</b>"], "text/plain": ["2"]}},
                    {"output_type": "display_data", "data": {"image/png": "AA\nBB", "text/plain": ["plot"]}},
                ],
            },
        ]
        (root / "examples").mkdir()
        (root / "examples" / "try.ipynb").write_text(json.dumps({"cells": cells}), "utf-8")
        (root / "docs" / "one.md").write_text("[try](../examples/try.ipynb#title)\n\n# One\n\n## Part\n", "utf-8")
        assert "examples/try.md" in pages.english_pages(root)
        assert "[try](../examples/try.md#title)" in pages.page_text(root, "docs/one.md", pages.ENGLISH)
        assert pages.page_text(root, "examples/try.md", pages.ENGLISH) == (
            "# Title {#title}\n\nwords\n\n```python\n1 + 1\n```\n\n```text\nsaid\n```\n\n```text\n2\n```\n\n"
            "![](data:image/png;base64,AABB)\n"
        )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("# Where do I change ...?\n", ["where-do-i-change-"]),
            ('## `kind = "lora"`\n## `kind = "lora"`\n', ["kind--lora", "kind--lora-1"]),
            ("# Step 1\n## Step\n## Step\n", ["step-1", "step", "step-2"]),
            ("# 先试一试\n\n```sh\n# no heading\n```\n", ["先试一试"]),
            ("# [a link](x.md) & more\n", ["a-link--more"]),
        ],
    )
    def test_anchors_are_those_of_github(self, text, expected):
        assert pages.anchors(text) == expected

    @given(st.lists(st.sampled_from(["# A\n", "## B b\n", "```\n# C\n```\n", "text [l](https://x.org)\n", "\n"])))
    def test_a_page_changes_in_nothing_but_its_anchors(self, parts):
        text = "# Title\n" + "".join(parts)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "page.md").write_text(text, "utf-8")
            made = pages.page_text(Path(folder), "page.md", pages.ENGLISH)
        assert re.sub(r" \{#[\w-]+\}$", "", made, flags=re.MULTILINE) == text
        assert re.findall(r"\{#([\w-]+)\}", made) == pages.anchors(text)


def test_missing_packages_are_named_with_their_command(monkeypatch, capsys):
    for name in ("zensical", "mkdocstrings"):
        monkeypatch.setitem(sys.modules, name, None)
    assert make_site.main() == 1
    assert capsys.readouterr().err == "the docs site needs zensical and mkdocstrings: pip install 'papertune[docs]'\n"


@pytest.mark.slow
@pytest.mark.once
def test_a_broken_link_ends_the_build(tmp_path):
    for name in ("website/overrides/partials", "docs", "src"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "website" / "zensical.toml", tmp_path / "website")
    (tmp_path / "website" / "api.md").write_text("# API\n", "utf-8")
    for reader in pages.READERS:
        (tmp_path / reader).write_text("# Readers\n", "utf-8")
    (tmp_path / "README.md").write_text(
        "# Name\n\n[gone](docs/gone.md)\n\n[part](docs/for-students.md#gone)\n", "utf-8"
    )
    with pytest.raises(pages.SiteError) as caught:
        make_site.build(tmp_path / "made", tmp_path)
    said = str(caught.value)
    assert "page does not exist" in said
    assert "README.md:3:8" in said
    assert "[gone](docs/gone.md)" in said
    assert "[part](docs/for-students.md#gone)" in said
    assert said.endswith("2 issues found")


@pytest.mark.parametrize("link", ["../../x.md#a", "../docs/../../x.png"])
def test_a_link_above_the_root_is_an_error_with_its_page(link, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(f"# Page\n\n[x]({link})\n", "utf-8")
    with pytest.raises(pages.SiteError) as caught:
        pages.write_pages(tmp_path, pages.ENGLISH, tmp_path / "site")
    target = link.removesuffix("#a")
    assert str(caught.value) == f"docs/page.md: the link {target} leads out of the repository. Correct it."
