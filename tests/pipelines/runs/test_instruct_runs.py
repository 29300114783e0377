"""The recipe instruct: instruction files and conversations, from training to answers."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import DynamicCache

import papertune
from papertune.pipelines.instructions import write_instructions

# Trained and read in float32.
pytestmark = pytest.mark.once

SETTINGS = (
    "training.precision=fp32",
    "training.micro_batch_size=2",
    "training.warmup_steps=1",
    "columns.output.max_new_tokens=6",
    "method.rank=4",
)
QUESTIONS = ("What is the heart?", "Name a graph.", "Is it fast?", "Say nothing.")


def conversation(n):
    """Return a conversation of one to three rounds, every other one with a system message."""
    system = [{"from": "system", "value": "You read papers."}] if n % 2 else []
    rounds = [
        message
        for turn in range(1 + n % 3)
        for message in (
            {"from": "human", "value": f"{QUESTIONS[(n + turn) % 4]} {n}"},
            {"from": "gpt", "value": f"the answer {turn} of {n}"},
        )
    ]
    return [*system, *rounds]


CONVERSATIONS = [{"id": n, "conversations": conversation(n)} for n in range(8)]


def entry(messages):
    """Return a conversation as an alpaca entry."""
    system = [each["value"] for each in messages if each["from"] == "system"]
    texts = [each["value"] for each in messages if each["from"] != "system"]
    history = [texts[at : at + 2] for at in range(0, len(texts) - 2, 2)]
    return {"instruction": texts[-2], "input": "", "output": texts[-1], "system": "".join(system), "history": history}


ENTRIES = [entry(each["conversations"]) for each in CONVERSATIONS]


def saved(folder, name, value):
    (folder / name).write_text(json.dumps(value), "utf-8")
    return folder / name


@pytest.fixture(scope="session")
def settings(tiny_folder):
    """Return what makes the recipe fit the tiny model."""
    return [f"model={tiny_folder}", *SETTINGS]


@pytest.fixture(scope="session")
def run(settings, tmp_path_factory):
    """Return a run on the entries, for reading only."""
    folder = tmp_path_factory.mktemp("instruct")
    return papertune.train(saved(folder, "alpaca.json", ENTRIES), "instruct", folder / "run", overrides=settings)


def weights(run):
    return load_file(run.directory.adapter / "adapter_model.safetensors")


def assert_same_weights(one, other):
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def answered(run, folder, entries, suffix="json", **options):
    output = folder / f"answers.{suffix}"
    run.predict_file(saved(folder, "questions.json", entries), output, precision="fp32", **options)
    return json.loads(output.read_text("utf-8")) if suffix == "json" else papertune.read_table(output).frame.to_dicts()


def test_conversations_train_the_same_run_as_entries(run, settings, tmp_path):
    path = saved(tmp_path, "sharegpt.json", CONVERSATIONS)
    assert_same_weights(run, papertune.train(path, "instruct", tmp_path / "run", overrides=settings))


def test_a_prefix_begins_as_the_first_prompt_where_each_entry_has_its_own_question(settings, tmp_path):
    # The rate of the first step is 0.
    prefix = ["method={ kind = 'ptuning_v2', prefix_length = 9 }", "training.max_steps=1", "training.warmup_steps=5"]
    path = saved(tmp_path, "alpaca.json", ENTRIES[2:])
    tuned = papertune.train(path, "instruct", tmp_path / "run", overrides=[*settings, *prefix])
    model, tokenizer = tuned.load("fp32")
    chat = [{"role": "user", "content": text} for text in ENTRIES[2]["history"][0][:1]]
    ids = tokenizer.apply_chat_template(chat, return_dict=False)[:9]
    cache = DynamicCache()
    with torch.no_grad():
        model.get_base_model()(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    for layer, keys in zip(cache.layers, model.prefix().keys, strict=True):
        torch.testing.assert_close(keys, layer.keys[0], rtol=0, atol=1e-4)


def test_all_answers_of_a_conversation_are_learned_as_if_each_were_an_entry(settings, tmp_path):
    path = saved(tmp_path, "sharegpt.json", CONVERSATIONS)
    learning = [*settings, "training.learn_history=true"]
    run = papertune.train(path, "instruct", tmp_path / "run", overrides=learning)
    beginnings = [
        entry(messages[: end + 1])
        for messages in (each["conversations"] for each in CONVERSATIONS)
        for end, message in enumerate(messages)
        if message["from"] == "gpt"
    ]
    assert run.manifest.examples == len(beginnings) == 15
    each = papertune.train(saved(tmp_path, "each.json", beginnings), "instruct", tmp_path / "each", overrides=settings)
    assert_same_weights(run, each)


def test_entries_are_written_as_they_were(run, tmp_path):
    entries = [
        {"n": 1.50, "instruction": QUESTIONS[0], "tags": ["a", {"b": None}], "output": "known", "last": True},
        {"instruction": QUESTIONS[1], "input": "the heart", "output": None, "history": [["a", "b"]]},
        {"output": "", "instruction": QUESTIONS[2], "input": None, "system": "Be brief."},
    ]
    with pytest.warns(papertune.PapertuneWarning, match='not used of its entries: "n" .1 of 3 entries., "tags"'):
        answers = answered(run, tmp_path, entries)
    said = [each["output"] for each in answers]
    assert all(isinstance(text, str) for text in said)
    assert [{**each, "output": None} for each in answers] == [
        {**entries[0], "output": None, "output_given": "known"},
        {**entries[1], "output": None},
        {**entries[2], "output": None},
    ]
    assert [*answers[0]] == ["n", "instruction", "tags", "output", "last", "output_given"]
    # The answers do not depend on what stands beside the question.
    with pytest.warns(papertune.PapertuneWarning, match="not used of its entries"):
        filled = run.predict(entries, precision="fp32")
    assert filled["output"].to_list() == said
    assert filled.columns[-2:] == ["system", "output_given"]


def test_questions_need_nothing_else(run, tmp_path):
    bare = answered(run, tmp_path, [{"instruction": question} for question in QUESTIONS])
    assert [[*each] for each in bare] == [["instruction", "output"]] * 4
    table = answered(run, tmp_path, [{"instruction": question} for question in QUESTIONS], "csv", probabilities=True)
    assert [*table[0]] == ["instruction", "output", "output_confidence"]
    assert [row["output"] for row in table] == [each["output"] for each in bare]


def test_conversations_are_answered_where_they_end(run, tmp_path):
    asked = [{**each, "conversations": each["conversations"][:-1]} for each in CONVERSATIONS]
    open_ended = answered(run, tmp_path, asked)
    assert [{**each, "output": None} for each in open_ended] == [{**each, "output": None} for each in asked]
    (tmp_path / "answers.json").unlink()
    complete = answered(run, tmp_path, CONVERSATIONS)
    assert [each["output"] for each in complete] == [each["output"] for each in open_ended]
    assert [each["output_given"] for each in complete] == [each["output"] for each in ENTRIES]
    assert [each["conversations"] for each in complete] == [each["conversations"] for each in CONVERSATIONS]


def test_earlier_rounds_and_the_system_message_change_the_answer(run):
    bare = {"instruction": QUESTIONS[0]}
    others = [{**bare, "system": "Be brief."}, {**bare, "history": [["a", "b"]]}, {**bare, "input": "the heart"}]
    filled = run.predict([bare, *others], probabilities=True, precision="fp32", columns=["output"])
    assert len(set(filled["output_confidence"])) == 4
    alone = run.predict([bare], probabilities=True, precision="fp32", columns=["output"])
    assert alone.row(0) == filled.row(0)


def test_long_conversations_lose_their_oldest_rounds(settings, tmp_path):
    long = [{**each, "history": [["the heart of man", "of graphs"]] * 20 + each["history"]} for each in ENTRIES]
    limit = [*settings, "encoding.max_prompt_tokens=64"]
    path = saved(tmp_path, "long.json", long)
    message = (
        "8 of 8 prompts have more than 64 tokens; their oldest rounds, or the ends of their documents are not read"
    )
    with pytest.warns(papertune.PapertuneWarning, match=message):
        run = papertune.train(path, "instruct", tmp_path / "run", overrides=limit)
    with pytest.warns(papertune.PapertuneWarning, match="more than 64 tokens; the oldest rounds are not read, or only"):
        assert run.predict(long, columns=["output"], precision="fp32").height == len(long)
    encoder = run.predictor("fp32").encoder
    reader = papertune.prompts.examples.RowReader(papertune.read_table(long), run.recipe)
    encoded = encoder.encode(reader.prompt(2, "output"))
    assert encoded.truncated
    assert encoded.kept_chars == len(ENTRIES[2]["instruction"])


def test_reports(run, tmp_path):
    path = saved(tmp_path, "test.json", ENTRIES)
    report = papertune.evaluate(run, path, tmp_path / "report", precision="fp32")
    answered(run, tmp_path, ENTRIES)
    papertune.evaluate(run, path, tmp_path / "again", predictions=tmp_path / "answers.json")
    scores = [json.loads((tmp_path / name / "report.json").read_text())["contestants"] for name in ("report", "again")]
    assert scores[0] == scores[1] != []
    assert report.columns[0].name == "output"
    assert QUESTIONS[0] in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_predictions_of_conversations_are_read_as_predictions(run, tmp_path):
    answered(run, tmp_path, CONVERSATIONS)
    path = saved(tmp_path, "test.json", CONVERSATIONS)
    papertune.evaluate(run, path, tmp_path / "report", predictions=tmp_path / "answers.json")
    scores = json.loads((tmp_path / "report" / "report.json").read_text())["contestants"]
    assert next(each["score"] for each in scores if each["metric"] == "exact_match") == 0


def test_conversations_become_an_alpaca_file(run, tmp_path):
    count = write_instructions(saved(tmp_path, "sharegpt.json", CONVERSATIONS), "instruct", tmp_path / "alpaca.json")
    assert count == 8
    expected = [{key: value for key, value in each.items() if value or key == "input"} for each in ENTRIES]
    assert json.loads((tmp_path / "alpaca.json").read_text("utf-8")) == expected


def test_a_table_with_a_question_in_each_row(tiny_folder, tmp_path):
    recipe = {
        "model": str(tiny_folder),
        "table": {"document": "{text}"},
        "columns": {"answer": {"kind": "label", "sources": ["model"], "question": "{question}", "labels": ["1", "0"]}},
        "training": {"precision": "fp32", "max_steps": 1},
    }
    rows = [{"text": f"the heart {n}", "question": QUESTIONS[n % 3], "answer": str(n % 2)} for n in range(6)]
    run = papertune.train(rows, recipe, tmp_path / "run")
    asked = [{**rows[0], "question": question} for question in QUESTIONS[:3]]
    filled = run.predict(asked, probabilities=True, precision="fp32")
    assert filled.columns[:2] == ["row", "answer"]
    assert len(set(filled["answer_probability_1"])) == 3
