import importlib
import inspect
import json
import re
import subprocess
import sys

import pytest

import papertune
import papertune.models
import papertune.prompts
from papertune import errors

HEAVY = {"torch", "transformers", "polars", "peft", "sklearn", "scipy", "matplotlib", "pandas"}


def test_all_lists_exactly_the_public_names():
    assert papertune.__all__ == sorted(papertune.__all__)
    for name in papertune.__all__:
        assert getattr(papertune, name).__name__ == name
    # Late names are the same objects as in their modules, and nothing else is public.
    for name, module in papertune._LATE.items():
        assert getattr(papertune, name) is getattr(importlib.import_module(module), name)
    submodules = {name for name in vars(papertune) if inspect.ismodule(vars(papertune)[name])}
    helpers = {"TYPE_CHECKING", "ignore_unused_kernel", "late_names", "limit_spinning"}
    public = {name for name in vars(papertune) if not name.startswith("_")} - submodules - helpers
    assert public == set(papertune.__all__)
    assert set(dir(papertune)) == {*papertune.__all__, "__version__"}


@pytest.mark.parametrize("package", [papertune.models, papertune.prompts])
def test_late_names_of_a_package_are_those_of_its_modules(package):
    assert set(package._LATE) == set(package.__all__)
    for name, module in package._LATE.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'predict'"):
        package.predict  # noqa: B018


def test_a_star_import_imports_all_public_names():
    names = {}
    exec("from papertune import *", names)
    assert set(names) - {"__builtins__"} == set(papertune.__all__)


def test_an_unknown_name_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'papertune' has no attribute 'predict'"):
        papertune.predict  # noqa: B018


def test_public_names_have_docstrings():
    for name in papertune.__all__:
        assert getattr(papertune, name).__doc__, name


class TestCheapImports:
    def heavy_modules(self, program):
        """Return the heavy modules that a program imports; it prints the names of all modules last."""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))

    def test_the_package_imports_nothing_heavy(self):
        program = "import json, sys; import papertune, papertune.tables; print(json.dumps(sorted(sys.modules)))"
        assert self.heavy_modules(program) == set()

    def test_the_help_page_imports_nothing_heavy(self):
        program = (
            "import atexit, json, sys\n"
            "atexit.register(lambda: print(json.dumps(sorted(sys.modules))))\n"
            "sys.argv = ['papertune', '--help']\n"
            "from papertune.cli import main\n"
            "main()\n"
        )
        assert self.heavy_modules(program) == set()


class TestErrors:
    @staticmethod
    def drawn():
        """Read the tree at the top of errors.py: the class above each class."""
        above = {}
        parent = None
        for branch, name in re.findall(r"^([├└]── )?([A-Z]\w+) {2,}\S", errors.__doc__ or "", re.MULTILINE):
            above[name] = parent if branch else None
            parent = parent if branch else name
        return above

    def test_the_drawn_tree_is_the_tree_of_classes(self):
        classes = {
            name: cls
            for name, cls in vars(errors).items()
            if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__ == errors.__name__
        }
        expected = {
            name: cls.__bases__[0].__name__ if cls.__bases__[0].__module__ == errors.__name__ else None
            for name, cls in classes.items()
        }
        assert self.drawn() == expected

    def test_all_error_classes_are_public(self):
        assert set(self.drawn()) <= set(papertune.__all__)

    def test_user_errors_have_one_base_class(self):
        for name in self.drawn():
            cls = getattr(errors, name)
            assert issubclass(cls, PARENTS.get(name, errors.PapertuneError))

    def test_many_problems_become_one_error(self):
        many = errors.TableError.collect("papers.csv is wrong", [f"row {n}" for n in range(25)])
        assert type(many) is errors.TableError
        lines = str(many).splitlines()
        assert lines[0] == "papers.csv is wrong (25 problems):"
        assert lines[-1] == "  - and 5 more"
        assert len(lines) == 22
        assert str(errors.RunError.collect("unused", ["only this"])) == "only this"


# Classes of errors.py that are not mistakes of the user.
PARENTS = {"TrainingStopped": Exception, "PapertuneWarning": UserWarning}
