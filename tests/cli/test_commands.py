import json
import os
import re
import signal
import subprocess
import sys

import pytest

import papertune as api
from papertune.cli.progress import TerminalListener
from papertune.recipe import builtin_recipes, load_recipe


def cells(path, name):
    return api.read_table(path).column(name)


class TestEndToEnd:
    @pytest.mark.slow
    def test_from_a_table_to_a_filled_table(self, papertune, here, tiny_folder):
        done = papertune("init", "papers.csv", "-o", "mine.toml")
        assert (done.code, done.err) == (0, "")
        assert done.out == "mine.toml written. Read it, then: papertune check papers.csv -r mine.toml\n"
        recipe = load_recipe("mine.toml")
        assert list(recipe.columns) == ["label", "Keywords"]
        assert recipe.columns["label"].labels == ("1", "0")
        assert (recipe.table.id, recipe.table.document) == ("uuid", "title: {title}\nabstract: {abstract}")

        model = ["--set", f"model={tiny_folder}", "--set", "training.logging_steps=1"]
        # An adopted adapter has no other sources.
        model += [part for name in ("label", "Keywords") for part in ("--set", f'columns.{name}.sources=["model"]')]
        done = papertune("check", "papers.csv", "-r", "mine.toml", *model)
        assert done.code == 0, done.err
        assert "papers.csv: 12 rows, columns uuid, title, author, abstract, Keywords, label" in done.out
        assert "label: 0 6, 1 6" in done.out
        assert "no document will be truncated" in done.out
        assert "<|im_start|>user\ntitle: the heart 0\nabstract: heart graph aspirin network" in done.out
        assert "12 rows make 30 optimizer steps, so the model may hardly change.\n" in done.out
        assert "no problems" in done.out

        done = papertune("train", "papers.csv", "-r", "mine.toml", "-o", "run", "--dev-fraction", "0.25", *model)
        assert done.code == 0, done.err
        assert re.fullmatch(r"run: 25 steps in \d+ s, dev score 0\.\d{4}\n", done.out)
        assert "training: 25/25" in done.err
        assert "on 18 examples" in done.err
        assert "10 rows make 25 optimizer steps, so the model" in done.err

        done = papertune("predict", "run", "new.csv", "-o", "filled.csv", "--probabilities")
        assert done.code == 0, done.err
        assert done.out == "filled.csv: 6 rows (6 went through the model)\n"
        assert "to go for 6 rows" in done.err
        assert cells("filled.csv", "uuid") == [f"p{n:03}" for n in range(50, 56)]
        assert set(cells("filled.csv", "label")) <= {"0", "1"}

        done = papertune("evaluate", "run", "papers.csv", "-o", "report", "--baselines", "papers.csv")
        assert done.code == 0, done.err
        assert "majority" in done.out
        assert "report.html: open it in a browser" in done.out
        numbers = json.loads((here / "report" / "report.json").read_text("utf-8"))
        accuracy = next(c["score"] for c in numbers["contestants"] if c["metric"] == "accuracy")
        assert f"Accuracy {accuracy:.3f}" in done.out

        done = papertune("merge", "run", "-o", "merged", "--precision", "fp32")
        assert done.code == 0, done.err
        assert (here / "merged" / "model.safetensors").is_file()

        done = papertune("adopt", "run/adapter", "-r", "mine.toml", "-o", "adopted", *model)
        assert (done.code, done.out) == (0, "adopted: ready for papertune predict\n"), done.err
        # The run may use int8, which its dev rows confirmed; the adopted run may not. So both get the same precision.
        for folder, name in (("run", "mine.csv"), ("adopted", "again.csv")):
            done = papertune("predict", folder, "new.csv", "-o", name, "--probabilities", "--precision", "fp32")
            assert done.code == 0, done.err
        assert (here / "again.csv").read_bytes() == (here / "mine.csv").read_bytes()

        for model_or_run in ("run", "merged"):
            done = papertune(
                "chat", model_or_run, "--max-new-tokens", "5", stdin="Is it medical?\nAnd now?\n\nnot read\n"
            )
            assert (done.code, done.err) == (0, "")
            assert done.out.count("\n") >= 2

    def test_an_instruction_file_trains_the_same_run_as_its_table(self, papertune, here):
        done = papertune("instructions", "papers.csv", "-r", "recipe.toml", "-o", "label.json", "--only", "label")
        assert (done.code, done.out) == (0, "label.json: 12 entries\n")
        assert papertune("train", "label.json", "-r", "recipe.toml", "-o", "a", "--only", "label", "-q").code == 0
        assert papertune("train", "papers.csv", "-r", "recipe.toml", "-o", "b", "--only", "label", "-q").code == 0
        weights = [here / run / "adapter" / "adapter_model.safetensors" for run in ("a", "b")]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    def test_train_on_several_tables_with_settings(self, papertune, here):
        done = papertune(
            "train", "papers.csv", "papers.csv", "-r", "recipe.toml", "-o", "run",
            "--set", "training.max_steps=2", "--set", "method.rank=2", "--only", "label", "--dev", "papers.csv",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert done.out.startswith("run: 2 steps")
        recipe, manifest = api.load_run("run").recipe, api.load_run("run").manifest
        assert (recipe.method.rank, recipe.training.max_steps, list(recipe.columns)) == (2, 2, ["label"])
        assert manifest.examples == 24
        assert manifest.label_counts == {"label": {"1": 12, "0": 12}}


class TestPredict:
    def test_columns_are_written_in_the_given_order(self, papertune, here, trained):
        assert papertune("predict", trained, "new.csv", "-o", "a.csv", "--columns", "uuid,Keywords, label").code == 0
        assert api.read_table("a.csv").columns == ["uuid", "Keywords", "label"]
        assert papertune("predict", trained, "papers.csv", "-o", "b.csv", "--columns", "all").code == 0
        assert api.read_table("b.csv").columns == [
            "uuid", "title", "author", "abstract", "label", "Keywords", "label_given", "Keywords_given",
        ]  # fmt: skip

    def test_rows_are_read_from_standard_input(self, papertune, here, trained):
        rows = [json.dumps({"uuid": str(n), "title": "a graph", "abstract": "of a heart"}) for n in range(3)]
        done = papertune("predict", trained, "-", "-o", "a.jsonl", stdin="\n".join(rows))
        assert done.code == 0, done.err
        assert cells("a.jsonl", "uuid") == ["0", "1", "2"]

    def test_only_papers_are_predicted_in_a_table_with_blank_rows_and_a_second_header(self, papertune, here, trained):
        header, *rows = [f"{line.replace(',', ';')};" for line in (here / "new.csv").read_text("utf-8").splitlines()]
        joined = ["sep=;", header, *rows[:2], ";;;;", header, *rows[2:], ";;;;", ";;;;"]
        (here / "joined.csv").write_text("\n".join(joined), "utf-8")
        assert papertune("predict", trained, "new.csv", "-o", "a.csv").code == 0
        done = papertune("predict", trained, "joined.csv", "-o", "b.csv")
        assert done.code == 0, done.err
        assert (here / "b.csv").read_bytes() == (here / "a.csv").read_bytes()
        assert done.warnings[:3] == [
            "joined.csv: 3 rows have only empty cells and are left out (first: row 3 below the header).",
            "joined.csv: 1 row repeats the header and is left out (row 4 below the header).",
            "joined.csv: 1 column has neither a name nor a cell and is left out (column 5).",
        ]

    def test_quiet_prints_only_the_result(self, papertune, here, trained):
        done = papertune("predict", trained, "new.csv", "-o", "a.csv", "--quiet")
        assert (done.code, done.err) == (0, "")
        assert done.out == "a.csv: 6 rows (6 went through the model)\n"

    def test_ctrl_c_prints_one_line_and_the_command_can_be_repeated(self, papertune, here, trained, monkeypatch):
        from papertune.inference.predictor import Predictor

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Predictor, "answer", interrupted)
            done = papertune("predict", trained, "new.csv", "-o", "a.csv", "-q")
        assert (done.code, done.out) == (128 + signal.SIGINT, "")
        assert done.err == "stopped; finished work is kept, and the same command continues\n"
        assert papertune("predict", trained, "new.csv", "-o", "a.csv").code == 0

    def test_a_base_model_that_has_moved(self, papertune, here, trained, tiny_folder):
        (here / "moved").symlink_to(tiny_folder)
        assert papertune("predict", trained, "new.csv", "-o", "a.csv", "--base", "moved").code == 0


def test_sigterm_stops_a_training_and_resume_continues_it(papertune, here, monkeypatch):
    command = ["train", "papers.csv", "-r", "recipe.toml", "-o", "run", "--only", "label"]

    def stop(_, step):
        if step.done == 1:  # a second signal would stop the program at once
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TerminalListener, "progress", stop)
        done = papertune(*command)
    assert (done.code, done.out) == (128 + signal.SIGTERM, "")
    assert done.err.endswith("a checkpoint is written. Add --resume to the same command to continue.\n")
    done = papertune(*command, "--resume")
    assert done.code == 0, done.err
    assert done.out.startswith("run: 3 steps")


def test_too_long_keywords_are_reported(papertune, here, tiny_folder):
    long = "a keyword of far too many tokens to be one"
    rows = [f"t{n},an abstract {n},{f'heart; {long}; lung' if n % 2 else f'{long}; heart'}" for n in range(4)]
    (here / "long.csv").write_text("\n".join(["title,abstract,Keywords", *rows]) + "\n", "utf-8")
    assert papertune("init", "long.csv", "-o", "long.toml").code == 0
    table = ("long.csv", "-r", "long.toml", "--set", f"model={tiny_folder}")
    done = papertune("check", *table)
    assert done.code == 0, done.err
    too_long = 'column "Keywords": 4 keywords have more tokens than columns.Keywords.max_keyword_tokens; not learned.'
    assert too_long in done.out
    assert "heart<|im_end|>" in done.out
    assert long not in done.out
    done = papertune("train", *table, "-o", "long-run", "--set", "training.max_steps=1")
    assert done.warnings == [too_long]
    (here / "long.csv").write_text(f"title,abstract,Keywords\nt,an abstract,{long}\n", "utf-8")
    done = papertune("train", *table, "-o", "none")
    assert "columns.Keywords.max_keyword_tokens; not learned. No answer is left; raise the limit." in done.err
    assert done.code == 2
    assert not (here / "none").exists()


@pytest.mark.once
class TestInit:
    def test_options_name_the_columns(self, papertune, here):
        table = (here / "papers.csv").read_text("utf-8").replace("label", "in review").replace("Keywords", "terms")
        (here / "other.csv").write_text(table, "utf-8")
        assert "no column looks like labels or keywords" in papertune("init", "other.csv", "-o", "a.toml").error
        done = papertune("init", "other.csv", "-o", "a.toml", "--label", "in review", "--keywords", "terms")
        assert done.code == 0, done.err
        assert list(load_recipe("a.toml").columns) == ["in review", "terms"]

    def test_a_labels_column_from_init_to_predict(self, papertune, here, tiny_folder):
        cells = ["maths; art", "art", "", "maths"]
        rows = [f"r{n},a title {n},an abstract {n},{cells[n % 4]}" for n in range(8)]
        (here / "fields.csv").write_text("\n".join(["id,title,abstract,fields", *rows]) + "\n", "utf-8")
        assert papertune("init", "fields.csv", "-o", "fields.toml", "--labels", "fields").code == 0
        settings = ["-r", "fields.toml", "--set", f"model={tiny_folder}"]
        done = papertune("check", "fields.csv", *settings)
        assert done.code == 0, done.err
        assert "fields: maths 4, art 4, (none of them) 2" in done.out
        done = papertune(
            "train",
            "fields.csv",
            *settings,
            "--set",
            "training.max_steps=1",
            "--set",
            "method.layers=1",
            "-o",
            "fields",
        )
        assert done.code == 0, done.err
        done = papertune("predict", "fields", "fields.csv", "-o", "filled.csv", "--probabilities")
        assert done.code == 0, done.err
        header = (here / "filled.csv").read_text("utf-8").splitlines()[0]
        assert header == "id,fields,fields_probability_art,fields_probability_maths,fields_given"

    def test_text_columns_from_init_to_predict(self, papertune, here, tiny_folder):
        rows = [f"r{n},a title {n},an abstract {n},{'' if n == 3 else f'patient {n}'}" for n in range(8)]
        (here / "texts.csv").write_text("\n".join(["id,title,abstract,who", *rows]) + "\n", "utf-8")
        done = papertune("init", "texts.csv", "-o", "texts.toml", "--text", "who", "--text", "title")
        assert done.code == 0, done.err
        recipe = load_recipe("texts.toml")
        assert recipe.table.document == "abstract: {abstract}"
        assert [(column.kind, column.max_new_tokens) for column in recipe.columns.values()] == [("text", 16)] * 2
        settings = ["-r", "texts.toml", "--set", f"model={tiny_folder}", "--set", "columns.who.max_new_tokens=1"]
        done = papertune("check", "texts.csv", *settings)
        assert done.code == 0, done.err
        assert 'column "who": 1 cell is empty; not learned' in done.warnings[0]
        assert re.search(r"  who: 7 answers of \d+ to \d+ tokens, mean \d+", done.out)
        assert 'column "who": 7 answers are longer than columns.who.max_new_tokens, 1; a prediction' in done.out
        assert "patient 0<|im_end|>" in done.out
        short = ["--set", "encoding.max_answer_tokens=2", "--set", "training.max_steps=1"]
        done = papertune("train", "texts.csv", *settings, *short, "-o", "texts")
        assert done.code == 0, done.err
        too_long = (
            'column "who": 7 answers have more tokens than encoding.max_answer_tokens; their ends are not learned.'
        )
        assert too_long in done.warnings
        done = papertune("predict", "texts", "texts.csv", "-o", "filled.csv", "--probabilities")
        assert done.code == 0, done.err
        header = (here / "filled.csv").read_text("utf-8").splitlines()[0]
        assert header == "id,who,who_confidence,title,title_confidence,who_given,title_given"

    def test_the_recipe_fits_a_table_with_a_rare_label_and_quotes(self, papertune, here, tiny_folder):
        rare = [f'r{n},"a ""quoted"" title {n}",x,an abstract {n},,{n % 9 == 0:d}' for n in range(18)]
        header = "pmid,Title,year,Abstract,Author Keywords,Included"
        (here / "rare.csv").write_text("\n".join([header, *rare]) + "\n", "utf-8")
        assert papertune("init", "rare.csv", "-o", "rare.toml").code == 0
        recipe = load_recipe("rare.toml")
        assert recipe.columns["Included"].weights is None
        assert recipe.table.document == "Title: {Title}\nAbstract: {Abstract}"
        done = papertune("check", "rare.csv", "-r", "rare.toml", "--only", "Included", "--set", f"model={tiny_folder}")
        assert done.code == 0, done.err

    def test_rows_without_keywords_are_ignored_for_the_number_of_keywords(self, papertune, here):
        rows = [f"t{n},an abstract,{'' if n % 3 else 'a; b; c; d; e; f; g; h; i; j'}" for n in range(9)]
        (here / "few.csv").write_text("\n".join(["title,abstract,Keywords", *rows]) + "\n", "utf-8")
        assert papertune("init", "few.csv", "-o", "few.toml").code == 0
        column = load_recipe("few.toml").columns["Keywords"]
        assert (column.count, column.beams) == (10, 20)

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ("labels", 'no column "labels". Did you mean "label"?'),
            ("title", '"title": 60 different cells; a label column has 2 to 50'),
            ("label", '"label": 1 different cells; a label column has 2 to 50'),
        ],
    )
    def test_a_column_that_cannot_be_a_label_column(self, papertune, here, column, message):
        wide = [f"{n},t{n},a{n},an abstract,k,1" for n in range(60)]
        (here / "wide.csv").write_text("\n".join(["uuid,title,author,abstract,Keywords,label", *wide]) + "\n", "utf-8")
        assert message in papertune("init", "wide.csv", "-o", "a.toml", "--label", column).error
        assert not (here / "a.toml").exists()


@pytest.mark.once
class TestCheck:
    def test_check_for_prediction_needs_no_gold_columns(self, papertune, here):
        assert "none of the columns to learn" in papertune("check", "new.csv", "-r", "recipe.toml").error
        done = papertune("check", "new.csv", "-r", "recipe.toml", "--for", "predict")
        assert done.code == 0, done.err
        assert "no problems" in done.out

    def test_all_problems_are_reported_at_once(self, papertune, here):
        lines = (here / "papers.csv").read_text("utf-8").splitlines()
        lines[2] = lines[2][:-1] + "yes"
        lines[4] = lines[4].replace("p003", "p000")
        (here / "bad.csv").write_text("\n".join(lines) + "\n", "utf-8")
        message = papertune("check", "bad.csv", "-r", "recipe.toml").error
        assert "2 problems" in message
        assert 'row 2 below the header, column "label": "yes" is not one of the 2 labels (1, 0)' in message
        assert 'row 4 below the header, column "uuid": the id "p000" is already at bad.csv, row 1' in message

    def test_shortcuts_and_duplicate_papers_are_reported(self, papertune, here):
        rows = []
        for number in range(60):
            names = ",".join(("Ada Lind", "Bo Costa")) if number % 2 else "; ".join(("Lind, Ada", "Costa, Bo"))
            title = " ".join(f"{word}{number}" for word in ("heart", "graph", "trial", "effect", "study", "method"))
            rows.append(f'p{number},{title},"{names}",an abstract,k,{number % 2}')
        rows[9] = rows[9].replace(rows[9].split(",")[1], rows[5].split(",")[1])
        (here / "leaky.csv").write_text("\n".join(["uuid,title,author,abstract,Keywords,label", *rows]) + "\n", "utf-8")
        asked = ("check", "leaky.csv", "-r", "recipe.toml", "--set", "table.document={title} {author} {abstract}")
        done = papertune(*asked)
        assert done.code == 0, done.err
        warnings = "\n".join(done.warnings)
        assert (
            "row 10 below the header: the document is that of leaky.csv, row 6 below the header; 1 row rep" in warnings
        )
        assert 'leaky.csv, column "author": its length in characters alone predicts label with accuracy 1' in warnings
        done = papertune(*asked, "--for", "predict")
        # What needs the labels is not said.
        assert not any("alone predicts" in warning for warning in done.warnings)
        assert any("the document is that of leaky.csv, row 6" in warning for warning in done.warnings)

    def test_no_weights_are_loaded(self, papertune, here, monkeypatch):
        from transformers import AutoModelForCausalLM

        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
        assert papertune("check", "papers.csv", "-r", "recipe.toml").code == 0


@pytest.mark.once
class TestBuiltIn:
    def test_recipes_lists_and_prints_built_in_recipes(self, papertune):
        done = papertune("recipes")
        assert [line.split()[0] for line in done.out.splitlines()] == list(builtin_recipes())
        done = papertune("recipes", "medical-papers")
        assert done.out == builtin_recipes()["medical-papers"]
        assert "medical-papers" in papertune("recipes", "medical").error

    def test_models_lists_known_models(self, papertune):
        done = papertune("models")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("smollm2-135m")

    @pytest.mark.slow
    def test_memory_of_a_recipe(self, papertune, here, tiny_folder):
        done = papertune("models", "--memory", "-r", "recipe.toml", "--set", "encoding.max_prompt_tokens=32")
        assert (done.code, done.err) == (0, "")
        first, head, *rows = done.out.split("\n\n")[0].splitlines()
        assert first.startswith(f"{tiny_folder}: 41,184 parameters; recipe recipe.toml: ")
        assert head.split()[:2] == ["GB", "at"]
        assert [row.split("  ")[0] for row in rows[:3]] == ["full", "full, gradient_checkpointing", "lora"]
        assert [row for row in rows if row.endswith("<- the recipe")] == [rows[2]]
        assert len(rows) == 10

    @pytest.mark.slow
    def test_memory_of_a_model(self, papertune, tiny_folder):
        done = papertune("models", tiny_folder, "--memory", "--set", "encoding.max_prompt_tokens=32")
        assert done.out.startswith(f"{tiny_folder}: 41,184 parameters; recipe medical-papers: 8 rows x ")
        assert "is not a known model" in papertune("models", "nowhere", "--memory").error

    def test_models_with_a_model_needs_memory(self, papertune):
        assert papertune("models", "smollm2-135m").error == (
            "papertune models takes a model, a recipe or --set only with --memory. Add --memory.\n"
        )


@pytest.mark.once
class TestInANewProcess:
    def run(self, *arguments):
        program = "from papertune.cli import main; main()"
        return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)

    @pytest.mark.slow
    def test_a_user_error_is_one_message(self, here):
        done = self.run("check", "nothing.csv", "-r", "recipe.toml")
        assert done.returncode == 2
        assert done.stderr == "error: nothing.csv: there is no such file. Check the path.\n"
        assert done.stdout == ""

    def test_help_lists_the_commands(self):
        done = self.run("--help")
        assert done.returncode == 0
        assert done.stderr == ""
        shown = re.findall(r"│ (\w+) ", done.stdout)
        for command in ("init", "check", "train", "predict", "evaluate", "chat", "instructions", "adopt", "merge"):
            assert command in shown

    def test_an_unknown_command_has_no_traceback(self):
        done = self.run("predikt")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
