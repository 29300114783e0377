import subprocess
import sys


def test_reading_a_recipe_loads_neither_torch_nor_scikit_learn_nor_polars():
    program = (
        "import sys; from papertune.recipe import load_recipe; recipe = load_recipe('medical-papers');"
        "assert list(recipe.questions) == ['label', 'Keywords'];"
        "print([name for name in ('torch', 'transformers', 'peft', 'sklearn', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
