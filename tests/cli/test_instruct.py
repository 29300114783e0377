"""Instruction files on the command line, from the file to answers and a chat."""

import json

import pytest

import papertune as api

ENTRIES = [
    {"id": n, "instruction": f"What is paper {n}?", "input": "" if n % 2 else "the heart", "output": f"it is {n}"}
    for n in range(8)
]
CONVERSATIONS = [
    {"conversations": [{"from": "human", "value": e["instruction"]}, {"from": "gpt", "value": e["output"]}]}
    for e in ENTRIES
]
# As many instruction files have it: the paper stands in the instruction, or the system message says what counts.
ALL_IN_INSTRUCTION = [
    {"instruction": f"Is this a medical paper? Answer 1 or 0.\nPaper {n}", "output": str(n % 2)} for n in range(6)
]
WITH_SYSTEM = [
    {
        "instruction": "Is it medical? Answer 1 or 0.",
        "input": f"Paper {n}",
        "output": str(n % 2),
        "system": "Papers on animals never count as medical.",
    }
    for n in range(4)
]


def saved(folder, **files):
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")


def read(path):
    return json.loads(path.read_text("utf-8"))


@pytest.fixture
def settings(tiny_folder):
    """Return the options that make the recipe fit the tiny model."""
    return [
        option
        for setting in (f"model={tiny_folder}", "columns.output.max_new_tokens=5", "training.micro_batch_size=2")
        for option in ("--set", setting)
    ]


def test_from_an_alpaca_file_to_answers_and_a_chat(papertune, here, settings):
    saved(here, alpaca=ENTRIES, questions=[{"instruction": "What is paper 2?", "n": 1.50}, ENTRIES[1]])
    done = papertune("check", "alpaca.json", "-r", "instruct", *settings)
    assert (done.code, done.warnings) == (0, []), done.err
    assert "<|im_start|>user\nWhat is paper 0?\nthe heart<|im_end|>\n<|im_start|>assistant\nit is 0" in done.out

    done = papertune("train", "alpaca.json", "-r", "instruct", "-o", "run", "--dev-fraction", "0.25", *settings)
    assert (done.code, done.warnings) == (0, []), done.err

    done = papertune("predict", "run", "questions.json", "-o", "answers.json")
    unused = 'questions.json: not used of its entries: "n" (1 of 2 entries).'
    assert (done.code, done.warnings) == (0, [unused]), done.err
    first, second = read(here / "answers.json")
    assert {**first, "output": ""} == {"instruction": "What is paper 2?", "n": 1.5, "output": ""}
    assert {**second, "output": ""} == {**ENTRIES[1], "output": "", "output_given": "it is 1"}
    assert first["output"]

    done = papertune("evaluate", "run", "alpaca.json", "-o", "report", "--baselines", "alpaca.json")
    assert done.code == 0, done.err
    assert "ROUGE-L" in done.out

    done = papertune(
        "chat", "run", "--max-new-tokens", "3", "--system", "Be brief.", stdin="What is paper 2?\nAnd 3?\n\n"
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") >= 2


def test_conversations(papertune, here, settings):
    asked = [{"id": 7, "conversations": each["conversations"][:1]} for each in CONVERSATIONS]
    saved(here, sharegpt=CONVERSATIONS, asked=asked)
    learning = [*settings, "--set", "training.learn_history=true"]
    assert papertune("check", "sharegpt.json", "-r", "instruct", *learning).code == 0
    assert papertune("train", "sharegpt.json", "-r", "instruct", "-o", "run", *learning).code == 0
    assert papertune("predict", "run", "asked.json", "-o", "answers.jsonl").code == 0
    lines = [json.loads(line) for line in (here / "answers.jsonl").read_text("utf-8").splitlines()]
    assert [{**line, "output": ""} for line in lines] == [{**each, "output": ""} for each in asked]
    # Nothing but what is asked for.
    assert papertune("predict", "run", "asked.json", "-o", "a.csv", "--columns", "id,output").code == 0
    assert api.read_table("a.csv").column("output") == [line["output"] for line in lines]


def test_a_broken_conversation_is_one_message(papertune, here, settings):
    broken = [{"conversations": each["conversations"][n % 3 == 1 :]} for n, each in enumerate(CONVERSATIONS)]
    saved(here, sharegpt=broken)
    for command in (["check"], ["train", "-o", "run"]):
        error = papertune(command[0], "sharegpt.json", "-r", "instruct", *command[1:], *settings).error
        assert error.startswith(
            'sharegpt.json, entry 2, column "conversations": message 1 is from the assistant ("gpt"), where the user '
            "has its turn (and 2 more: "
        )
        assert error.endswith("Correct or remove the entry.\n")
    assert not (here / "run").exists()


def test_documents_in_the_instruction(papertune, here):
    saved(here, data=ALL_IN_INSTRUCTION)
    error = papertune("check", "data.json", "-r", "recipe.toml").error
    assert error.count("data.json") == 1
    assert "6 entries have no input, and instructions that are not a question of the recipe" in error
    assert "move it to input; to learn any instructions, use the recipe instruct (-r instruct)" in error


def test_the_system_message_is_in_the_prompt_of_any_recipe(papertune, here):
    register = {"with_system": {"file_name": "data.json", "columns": {"query": "input", "system": "system"}}}
    saved(here, data=WITH_SYSTEM, dataset_info=register)
    for source in ("data.json", "dataset_info.json:with_system"):
        done = papertune("check", source, "-r", "recipe.toml", "--only", "label")
        assert done.code == 0, done.err
        assert "<|im_start|>system\nPapers on animals never count as medical.<|im_end|>" in done.out


def test_init_names_the_recipe(papertune, here):
    saved(here, alpaca=ENTRIES)
    assert "alpaca.json is an instruction file. It needs no recipe" in papertune("init", "alpaca.json", "-o", "x").error
