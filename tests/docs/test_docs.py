"""What README and docs say is so: links, commands, recipes, keys and defaults, messages."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import typer

import papertune
from papertune.cli import commands  # noqa: F401 - its functions join the app
from papertune.cli.app import app
from papertune.cli.reference import all_commands, command_reference
from papertune.errors import PapertuneError
from papertune.kinds.registry import KINDS
from papertune.methods.registry import METHODS
from papertune.pipelines.init import recipe_for
from papertune.prompts.check_table import check_table
from papertune.recipe import (
    EncodingSpec,
    Recipe,
    TableSpec,
    TrainingSpec,
    builtin_recipes,
    load_recipe,
)
from papertune.stages import STAGES, SftStage
from papertune.tables import read_table

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = all_commands(typer.main.get_command(app))
PROGRAM = "papertune"


def text_of(page):
    return page.read_text("utf-8")


def blocks(page, *languages):
    """Return the fenced blocks of a page; without a language, all of them."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    return [code for language, code in found if not languages or language in languages]


def without_blocks(page):
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def each_block(*languages):
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(page, *languages))
    ]


def command_of(words):
    """Return the name of a command, of one or two words, and the words after it."""
    size = 1 if words[0] in COMMANDS else 2
    return " ".join(words[:size]), words[size:]


def shell_lines(code):
    """Return the words of each command of a shell block."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


class TestCommandPage:
    def test_it_is_current(self):
        assert text_of(ROOT / "docs" / "commands.md") == command_reference(), "run: make docs"

    @pytest.mark.parametrize("columns", ["20", "300"])
    def test_the_terminal_does_not_matter(self, columns):
        printed = subprocess.run(
            [sys.executable, "-m", "papertune.cli.reference"],
            env={**os.environ, "COLUMNS": columns, "FORCE_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        assert printed.decode().replace("\r\n", "\n") == command_reference()

    def test_nothing_is_left_out(self):
        page = command_reference()
        for name, command in COMMANDS.items():
            section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
            for parameter in command.params:
                spellings = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
                assert all(re.search(rf"`\[?{re.escape(each)}\b", section) for each in spellings), parameter.name
                assert parameter.help, f"{name} {parameter.name} has no help"


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_they_resolve(self, page):
        for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in self.anchors(file), f"{page.name} links to {target}"

    @staticmethod
    def anchors(page):
        """Return the anchors of a page's headings, made as GitHub makes them."""
        headings = re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def test_every_page_can_be_reached(self):
        linked = set(re.findall(r"\]\((docs/\w[\w-]*\.md)\)", text_of(ROOT / "README.md")))
        pages = {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "docs"}
        assert linked == {page for page in pages if not page.endswith(".zh-CN.md")}  # these are linked in Chinese


class TestCommandLines:
    @pytest.mark.parametrize("code", each_block("sh"))
    def test_the_program_takes_them(self, code):
        for words in shell_lines(code):
            if words[0] == PROGRAM:
                words = words[: words.index(">")] if ">" in words else words
                name, rest = command_of(words[1:])
                COMMANDS[name].make_context(name, rest)
            elif words[0] == "make":
                targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
                assert words[1] in targets

    @pytest.mark.parametrize("code", each_block("sh"))
    def test_settings_and_built_in_recipes_are_real(self, code):
        for words in shell_lines(code):
            if words[:2] == [PROGRAM, "recipes"] and len(words) > 2:
                assert words[2] in builtin_recipes()
            recipe = words[words.index("-r") + 1] if "-r" in words else "recipe.toml"
            settings = [value for flag, value in pairwise(words) if flag == "--set"]
            load_recipe("medical-papers" if recipe.endswith(".toml") else recipe, settings)

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_what_stands_in_a_sentence(self, page):
        for span in re.findall(rf"`{PROGRAM} ([^`]+)`", without_blocks(page)):
            if not span.split()[0].islower():
                continue  # `papertune COMMAND --help`
            name, words = command_of(span.split())
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= known, span


class TestRecipes:
    @pytest.mark.parametrize("code", each_block("toml"))
    def test_they_load(self, code):
        load_recipe(tomllib.loads(code))

    def test_what_init_writes(self):
        (shown,) = blocks(ROOT / "docs" / "quickstart.md", "toml")
        written = recipe_for(read_table(ROOT / "examples" / "papers.csv"))
        assert shown in written

    def test_the_built_in_ones_are_listed(self):
        section = text_of(ROOT / "docs" / "recipes.md").split("\n## Built-in recipes\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE) == sorted(builtin_recipes(), key=self.in_order)

    @staticmethod
    def in_order(name):
        return ("medical-papers", "xfg-label", "xfg-keywords", "instruct").index(name)

    # By the heading of its section in docs/recipes.md; several sections have the same one for two kinds of things.
    PARTS = (
        ("## Top level", Recipe),
        ("## `[table]`", TableSpec),
        *((f'### `kind = "{each.kind_name()}"`', each) for each in (*KINDS, *METHODS)),
        ("## `[encoding]`", EncodingSpec),
        ("## `[training]`", TrainingSpec),
        *((f'### `kind = "{stage.kind_name()}"`', stage) for stage in STAGES if stage is not SftStage),
    )

    @pytest.mark.parametrize(("heading", "part"), PARTS, ids=[part.__name__ for _, part in PARTS])
    def test_every_key_has_its_type_and_default(self, heading, part):
        section = re.split(r"\n##+ ", text_of(ROOT / "docs" / "recipes.md").split(f"\n{heading}\n")[1])[0]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "| `" in line]
        assert [row[0].strip("`") for row in rows] == list(part.model_fields)
        for name, kind, default, meaning in rows:
            field = part.model_fields[name.strip("`")]
            assert kind
            assert meaning or name == "`kind`"
            if field.is_required():
                assert default == "required"
            elif field.default is None:
                assert default == "none"
            elif part is not Recipe or default.startswith("`"):
                value = tomllib.loads(f"value = {default.strip('`')}")["value"]
                assert value == (list(field.default) if isinstance(field.default, tuple) else field.default)
            # A choice names all of its words.
            words = [word for choice in self.choices(field.annotation) for word in choice]
            assert all(f'"{word}"' in kind for word in words), name

    def choices(self, annotation):
        inner = get_args(annotation)
        if inner and all(isinstance(word, str) for word in inner):
            return [inner]
        return [choice for each in inner for choice in self.choices(each)]


class TestPython:
    @pytest.mark.parametrize("code", each_block("python"))
    def test_it_is_python_and_the_names_exist(self, code):
        tree = ast.parse(code)
        used = [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == PROGRAM
        ]
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        modules = [name for name in imported if name.startswith(f"{PROGRAM}.")]
        assert used or modules
        assert set(used) <= set(papertune.__all__)
        for name in modules:
            importlib.import_module(name)


class TestTranslation:
    def test_the_code_is_the_same(self):
        assert blocks(ROOT / "README.zh-CN.md") == blocks(ROOT / "README.md")

    def test_the_links_are_the_same(self):
        def links(name):
            return sorted(set(re.findall(r"\]\(([^)\s]+)\)", text_of(ROOT / name))))

        english = {
            "README.zh-CN.md" if link == "README.md" else link.replace(".zh-CN.", ".")
            for link in links("README.zh-CN.md")
        }
        assert sorted(english) == links("README.md")

    @pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.zh-CN.md")), ids=lambda page: page.name)
    def test_a_page_has_all_parts_of_the_english_one(self, page):
        english = page.with_name(page.name.replace(".zh-CN", ""))
        assert f"]({page.name})" in text_of(english)
        assert self.parts(page) == self.parts(english)

    @staticmethod
    def parts(page):
        """Return what is the same in both languages: code, and the order of headings, tables and recipes."""
        text = without_blocks(page)
        targets = {link.split("#")[0].replace(".zh-CN", "") for link in re.findall(r"\]\(([^)\s]+)\)", text)}
        return {
            "blocks": blocks(page, "sh", "text", "json", "python", "py", ""),
            "number of recipes": len(blocks(page, "toml")),  # their questions may be Chinese
            "headings": re.findall(r"^(#+) ", text, re.MULTILINE),
            "tables": [line.count("|") for line in text.splitlines() if line.startswith("|")],
            "code": {" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)},
            "links": targets,
        }


class TestFileTree:
    @pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
    def test_it_has_every_package_and_no_other(self, readme):
        shown = re.findall(r"^    (  )?(\S+)/ +\S", text_of(ROOT / readme), re.MULTILINE)
        nested = {name for indent, name in shown if indent}
        packages = {file.parent.name for file in (ROOT / "src" / PROGRAM).glob("*/__init__.py")}
        assert nested == packages | {"lab"}
        assert all((ROOT / name).is_dir() for indent, name in shown if not indent)


HEADER = "uuid,title,abstract,label,Keywords\n"
GOOD = "".join(f"{row:04},title {row},text {row},{row % 2},one; two\n" for row in range(1, 13))


class TestMessages:
    """The messages that docs/your-table.md shows are those of the program."""

    @staticmethod
    def said(content, tmp_path, monkeypatch):
        """Return what `papertune check` would print about a table, warnings first."""
        monkeypatch.chdir(tmp_path)
        Path("papers.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                findings = check_table(read_table("papers.csv"), load_recipe("medical-papers"))
            except PapertuneError as error:
                lines = [str(error)]
            else:
                lines = list(findings.warnings)
                if findings.problems:
                    lines.append(str(PapertuneError.collect("the tables do not fit the recipe", findings.problems)))
        return [*(str(each.message) for each in caught), *lines]

    @pytest.mark.parametrize(
        ("content", "phrase"),
        [
            (f"{HEADER}1,a,b,1,x\n2,a,b, c,1,x\n3,a\n", "found 6 fields"),
            (f'{HEADER}1,"a,b,1,x\n2,a,b,1,x\n', "never closed"),
            (f'{HEADER}1,a, "b, c",1,x\n2,a,b,1,x\n', "a blank before a quote"),
            (f"{HEADER.replace(',', ';')}1;a;b;1;x\n", "judged by the header"),
            (f"{HEADER}1,a,b,1,x\n2,c,d,0,y\n{HEADER}3,e,f,1,z\n", "repeats the header"),
            (f"{HEADER}1,a,,,\n2,b,,,\n3,c,,,\n4,d,,,\n,,,,\n,,,,\n", "have only empty cells"),
            ("uuid,title,abstract,label,,\n1,a,b,1,,\n", "have neither a name nor a cell"),
            (f"Lakes,,,,\n{HEADER}1,a,b,1,x\n2,c,d,0,y\n", "does not look like a header"),
            (",title,abstract,label,Keywords\n0,a,b,1,x\n", "has no name"),
            (
                f"{HEADER}1,肝癌研究,本文研究肝癌患者的治疗效果以及影响其预后的各种因素。,1,肝癌\n".encode("gbk"),
                "GB18030",
            ),
            (f"{HEADER}1,Étude,café déjà,1,x\n".encode("latin-1"), "is not UTF-8"),
            ((HEADER + GOOD).replace(",title,", ",Title,", 1), "Did you mean"),
            (re.sub(",([01]|label),", ",", HEADER + GOOD), "it is not learned from this table"),
            ((HEADER + GOOD).replace("0007", "0002").replace("0008", ""), "is already at"),
            (re.sub(",([01]),", r",\1.0,", HEADER + GOOD), "after tidying"),
            ((HEADER + GOOD).replace("3,1,one", "3,yes,one").replace("5,1,one", "5,,one"), "is not one of"),
            ((HEADER + GOOD).replace(",0,one", ",1,one"), "it cannot be learned"),
            ((HEADER + GOOD).replace("6,0,one; two", "6,0,"), "without keywords"),
            ((HEADER + GOOD).replace("title 9", "title 2"), "the same as in another row"),
        ],
    )
    def test_they_are_real(self, content, phrase, tmp_path, monkeypatch):
        (said,) = [message for message in self.said(content, tmp_path, monkeypatch) if phrase in message]
        assert f": {said}\n" in text_of(ROOT / "docs" / "your-table.md")

    def test_several_labels(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        cells = ["physics", "law; physics", "physic; law", "", "chemistry"]
        rows = "".join(f"title {n},{cell}\n" for n, cell in enumerate(cells))
        Path("papers.csv").write_text(f"title,fields\n{rows}", "utf-8")
        column = {"kind": "labels", "question": "About {label}?", "labels": ["physics", "biology", "law"]}
        recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"fields": column}})
        problems = check_table(read_table("papers.csv"), recipe).problems
        said = PapertuneError.collect("the tables do not fit the recipe", problems)
        assert f"error: {said}\n" in text_of(ROOT / "docs" / "your-table.md")

    def test_numbers(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rows = "".join(f'title {n},"{cell}"\n' for n, cell in enumerate(["7", "1,234", "10-20", "12 mg", "9000", ""]))
        Path("papers.csv").write_text(f"title,dose\n{rows}", "utf-8")
        column = {"kind": "number", "question": "Which dose?", "minimum": 0, "maximum": 5000}
        recipe = load_recipe({"table": {"document": "{title}"}, "columns": {"dose": column}})
        problems = check_table(read_table("papers.csv"), recipe).problems
        said = PapertuneError.collect("the tables do not fit the recipe", problems)
        assert f"error: {said}\n" in text_of(ROOT / "docs" / "your-table.md")

    def test_a_table_with_nothing_to_learn(self, monkeypatch):
        monkeypatch.chdir(ROOT / "examples")
        (problem,) = check_table(read_table("papers_new.csv"), load_recipe("medical-papers")).problems
        assert f"error: {problem}\n" in text_of(ROOT / "docs" / "your-table.md")
        assert f"error: {problem}\n" in text_of(ROOT / "docs" / "quickstart.md")


def message_templates():
    """Return the longer strings of the program as patterns: a replacement field matches any text."""
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(file))):
            values = node.values if isinstance(node, ast.JoinedStr) else [node]
            parts = [value.value if isinstance(value, ast.Constant) else None for value in values]
            texts = [part for part in parts if isinstance(part, str)]
            if sum(map(len, texts)) >= 16:
                yield "".join(re.escape(part) if isinstance(part, str) else "(.*)" for part in parts)


class TestQuotedMessages:
    # What follows a message that is about several cells, or that collects several problems.
    END = r"(?: \(this is the first\))?\.?(?: \(\d+ problems\):)?$"

    @pytest.mark.slow
    def test_they_are_messages_of_the_program(self):
        templates = {template: self.fixed_texts(template) for template in message_templates()}
        lines = {line: page.name for page in PAGES for line in "".join(blocks(page, "text")).splitlines()}
        for line, page in lines.items():
            if re.match(r"(error|warning): |resuming: |.*no document", line):
                # To compile all patterns takes seconds.
                near = [each + self.END for each, texts in templates.items() if all(text in line for text in texts)]
                found = [match for pattern in near if (match := re.search(pattern, line, re.DOTALL))]
                assert found, f"{page}: {line}"
                phrases = {each for match in found for each in match.groups() if self.is_prose(each)}
                assert phrases <= set(map(self.plain, templates)), f"{page}: {line}"

    @staticmethod
    def is_prose(text):
        return re.fullmatch(r"[a-z]+( [a-z]+){3,}", text)

    @staticmethod
    def fixed_texts(template):
        return [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in template.split("(.*)")]

    @staticmethod
    def plain(template):
        return template.replace("\\ ", " ")
