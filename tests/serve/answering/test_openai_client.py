"""OpenAI's API by the real client."""

import asyncio
import json
import math
import threading
import time

import openai
import pytest

from papertune.errors import ModelError
from papertune.pipelines.chat import Conversation
from papertune.run import load_run
from papertune.run_directory import RunDirectory
from papertune.serve.answering import rows as rows_module
from papertune.serve.answering import writing as writing_module

PAPER = {"title": "the heart of graph 7", "abstract": "heart trial patients"}
DOCUMENT = "title: the heart of graph 7\nabstract: heart trial patients"


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="a-token-for-tests", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def predicted(server):
    """Return what /api/predict says of a paper."""
    body = {"run": "all", "rows": [PAPER], "probabilities": True}
    return server.client.post(f"{server.url}/api/predict", json=body).json()["rows"][0]


def ask(client, model, content=DOCUMENT, **options):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **options)


def test_the_models_are_runs_and_their_columns(client):
    columns = ["label", "topics", "Keywords", "answer", "year", "*"]
    assert [model.id for model in client.models.list()] == [
        "all",
        *(f"all:{name}" for name in columns),
        "joined",
        "joined:label",
        "joined:*",
        "words:label",  # no model was trained, so there is nothing to talk to
        "words:*",
    ]
    model = client.models.retrieve("all:label")
    assert (model.id, model.object, model.owned_by) == ("all:label", "model", "papertune")
    assert abs(model.created - time.time()) < 3600


@pytest.mark.parametrize("content", [json.dumps(PAPER), DOCUMENT, f"  {json.dumps(PAPER)}\n"])
def test_a_column_is_filled_in_for_a_row_or_a_document(client, predicted, content):
    assert ask(client, "all:year", content).choices[0].message.content == predicted["cells"]["year"]
    answer = ask(client, "all:label", content, logprobs=True)
    choice = answer.choices[0]
    assert choice.message.content == predicted["cells"]["label"]
    assert choice.finish_reason == "stop"
    (token,) = choice.logprobs.content
    assert token.token == choice.message.content
    assert {each.token: math.exp(each.logprob) for each in token.top_logprobs} == pytest.approx(
        predicted["probabilities"]["label"], abs=1e-5
    )
    assert token.logprob == token.top_logprobs[0].logprob == max(each.logprob for each in token.top_logprobs)


def test_the_fingerprint_is_the_checksum_of_the_run(client, workspace):
    checksum = RunDirectory(workspace.runs / "all").weights_checksum()
    assert ask(client, "all:label").system_fingerprint == checksum


def test_a_run_that_abstains_answers_nothing_and_says_why(client, server, papers):
    """The label column of this run abstains below 0.7."""
    rows = [{"title": each["title"], "abstract": each["abstract"]} for each in papers(30)]
    answered = server.client.post(f"{server.url}/api/predict", json={"run": "all", "rows": rows}).json()["rows"]
    paper = next(row for row, answer in zip(rows, answered, strict=True) if not answer["cells"]["label"])
    answer = ask(client, "all:label", json.dumps(paper), logprobs=True)
    (token,) = answer.choices[0].logprobs.content
    assert answer.choices[0].message.content == token.token == ""
    assert token.logprob == max(each.logprob for each in token.top_logprobs) < math.log(0.7)
    assert answer.warnings == ['list of rows: 1 cell of "label" is empty (below abstain_below).']


def test_fewer_alternatives_on_request(client):
    (token,) = ask(client, "all:label", logprobs=True, top_logprobs=1).choices[0].logprobs.content
    assert len(token.top_logprobs) == 1


def test_the_probability_of_several_labels_is_that_of_this_set(client, predicted):
    (token,) = ask(client, "all:topics", logprobs=True).choices[0].logprobs.content
    labels = set(predicted["cells"]["topics"].split("; "))
    probability = math.prod(p if each in labels else 1 - p for each, p in predicted["probabilities"]["topics"].items())
    assert token.token == predicted["cells"]["topics"]
    assert math.exp(token.logprob) == pytest.approx(probability, abs=1e-4)
    assert len(token.top_logprobs) == 3


def test_the_probability_of_a_written_answer_is_its_confidence(client, predicted):
    (token,) = ask(client, "all:answer", logprobs=True).choices[0].logprobs.content
    assert math.exp(token.logprob) == pytest.approx(predicted["confidences"]["answer"], abs=1e-5)
    assert token.token == predicted["cells"]["answer"]
    assert ask(client, "all:Keywords", logprobs=True).choices[0].logprobs is None


def test_all_columns_are_one_json_object(client, predicted):
    answer = ask(client, "all:*", json.dumps(PAPER), response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == predicted["cells"]
    usage = answer.usage
    assert usage.completion_tokens == 5
    assert usage.total_tokens == usage.prompt_tokens + 5
    assert usage.prompt_tokens > 5 * 30


def test_a_run_without_a_model_fills_in_columns(client):
    answer = ask(client, "words:label", logprobs=True)
    assert answer.choices[0].message.content in ("yes", "no", "maybe")
    assert answer.usage.prompt_tokens == 0


def test_the_last_message_of_the_user_is_the_row(client, predicted):
    messages = [
        {"role": "system", "content": "You fill in columns."},
        {"role": "user", "content": "something else"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": json.dumps(PAPER)}]},
    ]
    answer = client.chat.completions.create(model="all:year", messages=messages)
    assert answer.choices[0].message.content == predicted["cells"]["year"]


@pytest.fixture(scope="module")
def expected_chat(workspace):
    """Return what papertune chat answers."""
    run = load_run(workspace.runs / "all", device="cpu")
    conversation = Conversation(*run.load_to_predict(), max_new_tokens=9, recipe=run.recipe, system="Be brief.")
    return "".join(conversation.ask("What is it?"))


MESSAGES = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "What is it?"}]


def test_a_run_chats_like_papertune_chat(client, expected_chat):
    answer = client.chat.completions.create(model="all", messages=MESSAGES, max_completion_tokens=9)
    assert answer.choices[0].message.content == expected_chat
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 9)
    assert answer.object == "chat.completion"


def test_a_stream_is_the_same_in_pieces(client, expected_chat):
    stream = client.chat.completions.create(
        model="all", messages=MESSAGES, max_tokens=9, stream=True, stream_options={"include_usage": True}
    )
    first, *chunks, last, usage = list(stream)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert len(chunks) > 2
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == expected_chat
    assert [chunk.choices[0].finish_reason for chunk in (first, *chunks, last)] == [None] * (len(chunks) + 1) + [
        "length"
    ]
    assert all(chunk.usage is None for chunk in (first, *chunks, last))
    assert (usage.choices, usage.usage.completion_tokens) == ([], 9)
    assert len({chunk.id for chunk in (first, *chunks, last, usage)}) == 1


def test_a_stream_has_no_usage_unless_it_is_wanted(client):
    chunks = list(client.chat.completions.create(model="all", messages=MESSAGES, max_tokens=2, stream=True))
    assert [each.usage for each in chunks] == [None] * len(chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_a_column_can_be_streamed(client, predicted):
    chunks = list(ask(client, "all:label", stream=True, logprobs=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == predicted["cells"]["label"]
    (token,) = chunks[1].choices[0].logprobs.content
    assert len(token.top_logprobs) == 3


def test_each_token_of_a_chat_has_its_log_probability(client):
    answer = client.chat.completions.create(model="all", messages=MESSAGES, max_tokens=5, logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 5
    for token in tokens:
        assert token.logprob == token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob
    streamed = client.chat.completions.create(model="all", messages=MESSAGES, max_tokens=5, logprobs=True, stream=True)
    found = [each for chunk in streamed if (part := chunk.choices[0].logprobs) for each in part.content]
    assert [each.token for each in found] == [each.token for each in tokens]
    assert all(each.top_logprobs == [] for each in found)


def test_a_chat_may_draw_with_a_seed(client):
    def drawn(seed):
        answer = client.chat.completions.create(
            model="all", messages=MESSAGES, max_tokens=8, temperature=1.0, top_p=0.9, seed=seed
        )
        return answer.choices[0].message.content

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in (3, -1, 2**70, 8)}) > 1


def test_texts_are_continued(client):
    answer = client.completions.create(model="all", prompt=["the effect of", "the effect of"], max_tokens=4, logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    first, second = answer.choices
    assert first.text == second.text
    assert len(first.logprobs.tokens) == len(first.logprobs.token_logprobs) == len(first.logprobs.text_offset) == 4
    assert answer.usage.completion_tokens == 8
    chunks = list(client.completions.create(model="all", prompt="the effect of", max_tokens=4, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == first.text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_columns_of_several_texts(client, predicted):
    prompts = [json.dumps(PAPER), DOCUMENT, "graph"]
    answer = client.completions.create(model="all:label", prompt=prompts, logprobs=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices[:2]:
        assert choice.text == predicted["cells"]["label"]
        (top,) = choice.logprobs.top_logprobs
        assert {label: math.exp(log) for label, log in top.items()} == pytest.approx(
            predicted["probabilities"]["label"], abs=1e-5
        )
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("options", "param", "message"),
    [
        ({"n": 2}, "n", "n is 2, but a column has one answer. Leave n out, or set it to 1."),
        (
            {"model": "all", "n": 2},
            "n",
            "n is 2, but papertune writes one answer at a time. Leave n out, or set it to 1.",
        ),
        (
            {"temperature": 0.7},
            "temperature",
            "temperature is 0.7, but columns are not filled in at random. Leave it out, or set it to 0.",
        ),
        ({"top_logprobs": 3}, "top_logprobs", "top_logprobs needs logprobs to be true. Set it, or leave both out."),
        (
            {"model": "all:*", "logprobs": True},
            "logprobs",
            "the answer of all:* has several columns. Ask for one, such as all:label, or leave logprobs out.",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "look_up"}}]},
            "tools",
            "papertune does not support tools. Leave it out.",
        ),
        (
            {"model": "all", "response_format": {"type": "json_object"}},
            "response_format",
            "papertune does not support response_format. Leave it out.",
        ),
        ({"extra_body": {"magic": 7}}, "magic", "papertune does not support magic. Leave it out."),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
            "messages[0].content[0] is not text. Send text only.",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "messages",
            "the last message is not the user's. End the messages with a question.",
        ),
        (
            {"messages": []},
            "messages",
            "messages: List should have at least 1 item after validation, not 0. Correct the request.",
        ),
        (
            {"messages": [{"role": "user", "content": '{"title": "x"}'}]},
            "messages",
            'list of rows has no column "abstract", which table.document names. It has: title.',
        ),
        (
            {"model": "all", "max_tokens": 4090},
            None,
            "{model} reads 4,096 tokens at most, and an answer takes up to 4,090, so there is no room for a prompt. "
            "Choose shorter answers (max_new_tokens) or another model.",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_400_and_names_the_parameter(client, tiny_folder, options, param, message, stream):
    asked = {"model": "all:label", "messages": [{"role": "user", "content": DOCUMENT}], "stream": stream, **options}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asked)
    assert caught.value.body["message"] == message.replace("{model}", str(tiny_folder))
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("options", "param", "message"),
    [
        (
            {"prompt": [5, 6]},
            "prompt",
            "prompt: Value error, it must be a text or a list of texts; tokens are not supported. Correct the request.",
        ),
        ({"prompt": "a", "best_of": 2}, "best_of", "papertune does not support best_of. Leave it out."),
        (
            {"prompt": "a", "max_tokens": 4096},
            None,
            "the prompt has 1 token and max_tokens is 4,096, but the model reads 4,096 tokens at most, prompt and "
            "answer together. Shorten the prompt, or lower max_tokens.",
        ),
    ],
)
def test_a_wrong_completion_is_400(client, options, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="all", **options)
    assert (caught.value.body["message"], caught.value.param) == (message, param)


def test_parameters_that_change_nothing_are_accepted(client):
    ask(
        client,
        "all:label",
        n=1,
        temperature=0,
        user="someone",
        store=False,
        metadata={"a": "b"},
        frequency_penalty=0,
        tools=[],
        tool_choice="none",
        response_format={"type": "text"},
        stop=["x"],
        max_tokens=1,
        service_tier="auto",
    )


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("gpt-4o", 'there is no run "gpt-4o"'),
        ("all:colour", 'the run "all" has no column "colour", but "label", "topics", "Keywords", "answer", "year"'),
        ("../all:label", 'there is no run "../all"'),
        ("", 'there is no run ""'),
    ],
)
def test_an_unknown_model_is_404(client, model, why):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model)
    error = caught.value
    assert error.body["message"] == f'the model "{model}" does not exist: {why}. GET /v1/models lists the models.'
    assert (error.code, error.param) == ("model_not_found", "model")


def test_a_wrong_key_is_401(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(client.with_options(api_key="guessed"), "all:label")
    assert caught.value.type == "invalid_request_error"


def test_a_run_without_a_model_cannot_chat(client):
    with pytest.raises(openai.BadRequestError, match="has no trained model"):
        ask(client, "words")


@pytest.fixture
def held(monkeypatch):
    """Hold the model until it is released; return the batches, the beginning and the release."""
    whole = rows_module.fill_together
    batches, begun, released = [], threading.Event(), threading.Event()

    def hold(opened, requests, listener):
        batches.append([row["document"] for each in requests for row in each.rows])
        begun.set()
        assert released.wait(30)
        return whole(opened, requests, listener)

    monkeypatch.setattr(rows_module, "fill_together", hold)
    yield batches, begun, released
    released.set()


def in_thread(call, *arguments, **options):
    answers = []

    def run():
        try:
            answers.append(call(*arguments, **options))
        except openai.OpenAIError as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answers


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


async def ask_and_leave(url, count, leaving):
    """Ask some questions at once, and close the connections when it is time."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="a-token-for-tests", max_retries=0) as client:
        asked = [asyncio.create_task(ask(client, "all:label", f"leaves {number}")) for number in range(count)]
        await asyncio.to_thread(leaving.wait, 60)
        for each in asked:
            assert not each.done()
            each.cancel()


def test_a_full_queue_is_429_and_clients_that_leave_make_room(server, client, worker, held):
    """The queue of this server has four places."""
    batches, begun, released = held
    threads = [in_thread(ask, client, "all:label", "first")]
    assert begun.wait(20)
    leaving = threading.Event()
    others = threading.Thread(target=asyncio.run, args=(ask_and_leave(server.url, 4, leaving),))
    others.start()
    until(lambda: len(worker._waiting) == 4)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "all:label", "too many")
    assert caught.value.response.headers["Retry-After"] == "1"
    assert (caught.value.code, caught.value.type) == ("queue_full", "rate_limit_error")
    leaving.set()
    others.join()
    until(lambda: all(task.is_gone for task in worker._waiting))
    threads.append(in_thread(ask, client, "all:label", "stays"))
    until(lambda: any(not task.is_gone for task in worker._waiting))
    released.set()
    for thread, _ in threads:
        thread.join()
    assert batches == [["first"], ["stays"]]
    assert threads[-1][1][0].object == "chat.completion"


def test_a_dropped_stream_stops_writing(client, worker, monkeypatch):
    tokens = []

    def slowly(*arguments, **options):
        for token in whole(*arguments, **{**options, "end_ids": ()}):  # nothing ends this text but its length
            tokens.append(token)
            time.sleep(0.01)
            yield token

    whole = writing_module.stream
    monkeypatch.setattr(writing_module, "stream", slowly)
    stream = client.completions.create(model="all", prompt="the", max_tokens=3000, stream=True)
    for _ in range(3):
        next(stream)
    stream.close()
    until(lambda: not worker._writing)
    assert len(tokens) < 1000


def test_an_error_in_the_middle_of_a_stream_reaches_the_client(client, monkeypatch):
    whole = writing_module.stream

    def failing(*arguments, **options):
        for number, token in enumerate(whole(*arguments, **options)):
            if number == 3:
                raise ModelError("the numbers overflow")
            yield token

    monkeypatch.setattr(writing_module, "stream", failing)
    with pytest.raises(openai.APIError, match="the numbers overflow"):
        list(client.chat.completions.create(model="all", messages=MESSAGES, max_tokens=9, stream=True))
