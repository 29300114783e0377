import importlib
import inspect
import json
import re
import resource
import subprocess
import sys
import warnings

import pytest

import papertune
from papertune import errors

HEAVY = {"torch", "transformers", "polars", "peft", "sklearn", "matplotlib", "pandas"}


def test_all_names_what_can_be_imported():
    assert papertune.__all__ == sorted(papertune.__all__)
    for name in papertune.__all__:
        assert getattr(papertune, name).__name__ == name
    # Late names are the same things as in their modules, and nothing else is public.
    for name, module in papertune._LATE.items():
        assert getattr(papertune, name) is getattr(importlib.import_module(module), name)
    submodules = {name for name in vars(papertune) if inspect.ismodule(vars(papertune)[name])}
    helpers = {"TYPE_CHECKING", "Any", "collection_paused", "import_module", "limit_spinning"}
    public = {name for name in vars(papertune) if not name.startswith("_")} - submodules - helpers
    assert public == set(papertune.__all__)
    assert set(dir(papertune)) == {*papertune.__all__, "__version__"}


def test_a_star_import_gives_them_all():
    names = {}
    exec("from papertune import *", names)
    assert set(names) - {"__builtins__"} == set(papertune.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'papertune' has no attribute 'predict'"):
        papertune.predict  # noqa: B018


def test_public_names_are_documented():
    for name in papertune.__all__:
        assert getattr(papertune, name).__doc__, name


class TestCheapImports:
    def run(self, program):
        """Run a program in a process of its own; give what it prints last, and its processor time."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return json.loads(done.stdout.splitlines()[-1]), (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )

    def test_of_the_package(self):
        program = "import json, sys; import papertune, papertune.tables; print(json.dumps(sorted(sys.modules)))"
        modules, _ = self.run(program)
        assert HEAVY & set(modules) == set()

    def test_of_the_help_page(self):
        program = (
            "import atexit, json, sys\n"
            "atexit.register(lambda: print(json.dumps(sorted(sys.modules))))\n"
            "sys.argv = ['papertune', '--help']\n"
            "from papertune.cli import main\n"
            "main()\n"
        )
        modules, seconds = self.run(program)
        assert HEAVY & set(modules) == set()
        print(f"papertune --help: {seconds:.2f} s of processor time")


class TestErrors:
    @staticmethod
    def drawn():
        """Read the tree at the top of errors.py: for each class the one above it."""
        above = {}
        parent = None
        for branch, name in re.findall(r"^([├└]── )?([A-Z]\w+) {2,}\S", errors.__doc__ or "", re.MULTILINE):
            above[name] = parent if branch else None
            parent = parent if branch else name
        return above

    def test_the_tree_shows_every_class_where_it_is(self):
        classes = {
            name: cls
            for name, cls in vars(errors).items()
            if inspect.isclass(cls) and cls.__module__ == errors.__name__
        }
        expected = {
            name: cls.__bases__[0].__name__ if cls.__bases__[0].__module__ == errors.__name__ else None
            for name, cls in classes.items()
        }
        assert self.drawn() == expected

    def test_all_of_them_are_public(self):
        assert set(self.drawn()) <= set(papertune.__all__)

    def test_a_user_s_mistake_can_be_told_from_a_bug(self):
        for name in self.drawn():
            cls = getattr(errors, name)
            assert issubclass(cls, PARENTS.get(name, errors.PapertuneError))
        with pytest.warns(papertune.PapertuneWarning):
            warnings.warn("something to know", papertune.PapertuneWarning, stacklevel=1)

    def test_many_problems_are_one_error(self):
        many = errors.TableError.collect("papers.csv is wrong", [f"row {n}" for n in range(25)])
        assert type(many) is errors.TableError
        lines = str(many).splitlines()
        assert lines[0] == "papers.csv is wrong (25 problems):"
        assert lines[-1] == "  - and 5 more"
        assert len(lines) == 22
        assert str(errors.RunError.collect("unused", ["only this"])) == "only this"


# Classes of errors.py that are no mistake of the user.
PARENTS = {"TrainingStopped": Exception, "PapertuneWarning": UserWarning}
