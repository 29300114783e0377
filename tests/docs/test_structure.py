"""The house rules of CONTRIBUTING.md that a script can count."""

import ast
from pathlib import Path

import papertune

SOURCE = Path(papertune.__file__).parent


def test_no_folder_has_more_than_a_dozen_modules():
    folders = {file.parent for file in SOURCE.rglob("*.py")}
    modules = {folder: [file for file in folder.glob("*.py") if file.name != "__init__.py"] for folder in folders}
    assert {str(folder.relative_to(SOURCE)): len(each) for folder, each in modules.items() if len(each) > 12} == {}


def test_no_module_has_more_than_400_lines():
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in SOURCE.rglob("*.py")}
    assert {str(file.relative_to(SOURCE)): lines for file, lines in lengths.items() if lines > 400} == {}


def test_no_function_has_more_than_60_lines():
    trees = {file: ast.parse(file.read_text("utf-8")) for file in SOURCE.rglob("*.py")}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = {
        f"{file.relative_to(SOURCE)}: {node.name}": node.end_lineno - node.lineno + 1
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, functions)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}
