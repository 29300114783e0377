import pytest

from papertune import TableError, read_table
from papertune.kinds import LabelColumn, LabelsColumn
from papertune.pipelines.init import MAX_LABELS, recipe_for
from papertune.prompts.check_table import check_table
from papertune.recipe import load_recipe

pytestmark = pytest.mark.once


def papers(**columns):
    count = len(next(iter(columns.values())))
    texts = {name: [f"{name} {n}" for n in range(count)] for name in ("uuid", "title", "abstract")}
    rows = {**texts, **columns}
    return read_table([{name: cells[n] for name, cells in rows.items()} for n in range(count)])


def written(table, tmp_path, **named):
    (tmp_path / "recipe.toml").write_text(recipe_for(table, **named), "utf-8")
    recipe = load_recipe(tmp_path / "recipe.toml")
    assert check_table(table, recipe).problems == []
    return recipe


def test_labels_are_the_parts_of_the_cells(tmp_path):
    table = papers(field=["maths; physics", "physics", "", "art；physics", "maths"])
    column = written(table, tmp_path, labels=["field"]).columns["field"]
    assert isinstance(column, LabelsColumn)
    assert column.labels == ("physics", "maths", "art")  # the most frequent first
    text = recipe_for(table, labels=["field"])
    assert "# physics in 3 rows, maths in 2 rows, art in 1 rows, none in 1 rows" in text


def test_labels_are_split_at_commas_only_if_no_cell_has_a_semicolon(tmp_path):
    with_semicolons = papers(field=["Energy, Fuels; Physics", "Energy, Fuels"])
    assert written(with_semicolons, tmp_path, labels=["field"]).columns["field"].labels == ("Energy, Fuels", "Physics")
    with_commas = papers(field=["energy, fuels", "fuels"])
    assert written(with_commas, tmp_path, labels=["field"]).columns["field"].labels == ("fuels", "energy")


def test_a_column_of_several_labels_is_guessed(tmp_path):
    several = papers(category=["a; b", "b; c", "c; a"] * 3, label=["1", "0", "1"] * 3)
    columns = written(several, tmp_path).columns
    assert isinstance(columns["category"], LabelsColumn)
    assert isinstance(columns["label"], LabelColumn)
    # Parts that rarely repeat are not labels.
    with pytest.raises(TableError, match="no column looks like labels or keywords"):
        recipe_for(papers(topics=[f"topic {n}; idea {n}" for n in range(9)]))


def test_a_number_column_shows_its_range(tmp_path):
    path = tmp_path / "papers.csv"
    rows = [f'p{n},"We followed {1000 + n} patients for {n} years.","1,{n:03}"' for n in range(1, 9)]
    path.write_text(
        "\n".join(["uuid,abstract,patients", *rows, "p9,We followed nobody and counted nothing.,"]) + "\n", "utf-8"
    )
    text = recipe_for(read_table(path), number=["patients"])
    assert "minimum = 0            # the table has 1001 to 1008" in text
    (tmp_path / "recipe.toml").write_text(text, "utf-8")
    recipe = load_recipe(tmp_path / "recipe.toml")
    column = recipe.columns["patients"]
    assert (column.kind, column.minimum, column.integer, column.empty) == ("number", 0, True, "not stated")
    assert check_table(read_table(path), recipe).problems == []


def test_the_unit_of_a_number_column_is_guessed(tmp_path):
    table = papers(dose=["5 mg", "2.5 mg", "-1 mg", "", "7", "about 3"])
    text = recipe_for(table, number=["dose"])
    assert 'unit = "mg"' in text
    assert "# minimum = -1            # the table has -1 to 7; 1 not read, see papertune check" in text
    (tmp_path / "recipe.toml").write_text(text, "utf-8")
    column = load_recipe(tmp_path / "recipe.toml").columns["dose"]
    assert (column.unit, column.minimum, column.integer) == ("mg", None, False)
    assert '# unit = "patients"' in recipe_for(papers(n=["5", "6", *["7"] * 9, "about 8"]), number=["n"])


def test_empty_cells_of_a_number_column_teach_too():
    assert "rows are few" not in recipe_for(papers(n=["5", *[""] * 899]), number=["n"])


def test_a_number_column_without_numbers_is_refused(tmp_path):
    path = tmp_path / "papers.csv"
    path.write_text("uuid,abstract,patients\np1,We followed nobody and counted nothing.,many\n", "utf-8")
    with pytest.raises(
        TableError, match=r'column "patients": no cell holds a number\. Choose another column, or --text'
    ):
        recipe_for(read_table(path), number=["patients"])


def test_free_text_has_limits_from_the_longest_cell(tmp_path):
    table = papers(abstract=["an abstract"] * 4, finding=["x" * 200, "", "肝" * 10, ""], note=["短", "y", "z", "y"])
    recipe = written(table, tmp_path, text=["finding", "note"])
    assert recipe.columns["finding"].max_new_tokens == 80  # 200 bytes, three a token, in steps of 16
    assert recipe.columns["note"].max_new_tokens == 16
    assert recipe.encoding.max_answer_tokens == 160
    text = recipe_for(table, text=["finding", "note"])
    assert "max_new_tokens = 80      # the longest cell has 200 characters\n" in text
    assert text.count("# empty = ") == 1
    assert "2 empty cells" in text
    # Its commented settings are valid.
    (tmp_path / "all.toml").write_text(
        text.replace("# empty =", "empty =").replace("# decoding =", "decoding ="), "utf-8"
    )
    column = load_recipe(tmp_path / "all.toml").columns["finding"]
    assert (column.empty, column.decoding) == ("not stated", "beams")


def test_long_texts_are_learned_to_their_end(tmp_path):
    table = papers(abstract=["an abstract"] * 2, finding=["x" * 900, "y"])
    recipe = written(table, tmp_path, text=["finding"])
    assert recipe.columns["finding"].max_new_tokens == 304
    assert recipe.encoding.max_answer_tokens == 305
    endless = written(papers(abstract=["a"] * 2, finding=["x" * 9000, "y"]), tmp_path, text=["finding"])
    assert endless.columns["finding"].max_new_tokens == 512


def test_the_title_can_be_learned_from_the_abstract(tmp_path):
    recipe = written(papers(abstract=["an abstract", "another"]), tmp_path, text=["title"])
    assert recipe.table.document == "abstract: {abstract}"
    with pytest.raises(TableError, match="no column looks like text"):
        recipe_for(papers(label=["1", "0"]), text=["title", "abstract"])


def test_a_small_table_gets_small_batches_and_epochs(tmp_path):
    def training(rows):
        return written(papers(Keywords=["heart; lung"] * rows), tmp_path).training

    assert (training(80).micro_batch_size, training(80).epochs) == (2, 3)
    assert (training(500).micro_batch_size, training(500).epochs) == (4, 1)
    assert (training(900).micro_batch_size, training(900).epochs) == (8, 1)
    text = recipe_for(papers(Keywords=["heart; lung"] * 80))
    assert "# 80 rows are few: batches are small, so that there are 120 optimizer steps. For a larger table\n" in text
    assert "\n# take batches of 8 and 1 epoch.\nmicro_batch_size = 2\nepochs = 3\n" in text
    assert "micro_batch_size" not in recipe_for(papers(Keywords=["heart; lung"] * 800))
    # Papers without keywords are not learned; papers without any of several labels are.
    keywords = papers(Keywords=["heart; lung"] * 80 + [" "] * 900)
    assert "# 80 rows are few" in recipe_for(keywords)
    topics = papers(topics=["heart; lung"] * 80 + [""] * 920)
    assert "rows are few" not in recipe_for(topics, labels=["topics"])


def test_a_small_table_of_labels_is_learned_several_times_in_the_last_layers(tmp_path):
    def settings(rows, **columns):
        recipe = written(papers(label=["1", "0"] * (rows // 2), **columns), tmp_path)
        return recipe.method.layers, recipe.training.micro_batch_size, recipe.training.epochs

    assert settings(20) == (10, 2, 10)
    assert settings(100) == (10, 4, 10)
    assert settings(300) == (10, 8, 8)
    assert settings(998) == (10, 8, 2)
    assert settings(1000) == (None, 8, 1)
    assert settings(900, Keywords=["heart; lung"] * 900) == (None, 8, 1)
    text = recipe_for(papers(label=["1", "0"] * 50))
    assert "layers = 10              # only the last ones; on a CPU the others run once for all epochs\n" in text
    assert "# 100 rows are few: they are learned 10 times, in 250 optimizer steps. For a table of\n" in text
    assert "\n# 1,000 rows or more take all layers and 1 epoch.\nmicro_batch_size = 4\nepochs = 10\n" in text
    assert "micro_batch_size" not in recipe_for(papers(label=["1", "0"] * 400))


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["excluded"] * 19 + ["included"], "included"),
        (["out"] * 19 + ["in"], "in"),  # the rarer one
        (["1"] * 19 + ["0"], "1"),
        (["Yes"] * 19 + ["No"], "Yes"),
        (["a"] * 3 + ["b"] * 2 + ["c"], "a"),
    ],
)
def test_the_label_that_is_looked_for_is_the_first_of_two(tmp_path, cells, first):
    column = written(papers(label=cells), tmp_path).columns["label"]
    assert column.labels[0] == first
    assert column.weights is None


def test_too_many_labels_are_refused():
    table = papers(field=["; ".join(f"l{n}" for n in range(MAX_LABELS + 1)), ""])
    message = f'column "field": {MAX_LABELS + 1} different labels; a labels column has 1 to {MAX_LABELS}'
    with pytest.raises(TableError, match=message):
        recipe_for(table, labels=["field"])
    with pytest.raises(TableError, match='column "field": 0 different labels'):
        recipe_for(papers(field=["", ""]), labels=["field"])
