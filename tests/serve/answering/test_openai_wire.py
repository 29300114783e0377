"""What goes over the wire, as clients from 1.x on read it: written out once, with what changes replaced."""

import json

ASKED = {"messages": [{"role": "user", "content": "title: the heart\nabstract: of"}]}


def post(server, path, **body):
    return server.client.post(f"{server.url}/v1/{path}", json=body)


def plain(value):
    """Replace texts and numbers of an answer by their types; keys and constants stay."""
    if isinstance(value, dict):
        kept = {"object", "role", "finish_reason", "model", "type", "code", "index"}
        return {key: each if key in kept else plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value[:1]]
    return value if value is None or value == "" else type(value).__name__


HEAD = {"id": "str", "created": "int", "system_fingerprint": "str"}
USAGE = {"prompt_tokens": "int", "completion_tokens": "int", "total_tokens": "int"}
SCORED = {"token": "str", "logprob": "float", "bytes": ["int"]}
LOGPROBS = {"content": [{**SCORED, "top_logprobs": [SCORED]}], "refusal": None}


def test_a_chat_completion(server):
    answer = post(server, "chat/completions", model="joined:label", logprobs=True, **ASKED).json()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "str", "refusal": None},
        "logprobs": LOGPROBS,
        "finish_reason": "stop",
    }
    head = {**HEAD, "model": "joined:label", "object": "chat.completion"}
    assert plain(answer) == {**head, "choices": [choice], "usage": USAGE}
    assert answer["id"].startswith("chatcmpl-")


def test_a_stream_of_a_chat(server):
    answer = post(
        server,
        "chat/completions",
        model="joined:label",
        logprobs=True,
        stream=True,
        stream_options={"include_usage": True},
        **ASKED,
    )
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    *events, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    head = {**HEAD, "model": "joined:label", "object": "chat.completion.chunk"}
    parts = [
        ({"role": "assistant", "content": ""}, None, None),
        ({"content": "str"}, LOGPROBS, None),
        ({}, None, "stop"),
    ]
    choices = [
        {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason} for delta, logprobs, reason in parts
    ]
    expected = [{**head, "choices": [each], "usage": None} for each in choices]
    assert [plain(json.loads(event[6:])) for event in events] == [*expected, {**head, "choices": [], "usage": USAGE}]


def test_a_completion(server):
    answer = post(server, "completions", model="joined:label", prompt="heart", logprobs=2).json()
    logprobs = {"tokens": ["str"], "token_logprobs": ["float"], "top_logprobs": "dict", "text_offset": ["int"]}
    found = plain(answer)
    found["choices"][0]["logprobs"]["top_logprobs"] = "dict"
    choice = {"index": 0, "text": "str", "logprobs": logprobs, "finish_reason": "stop"}
    head = {**HEAD, "model": "joined:label", "object": "text_completion"}
    assert found == {**head, "choices": [choice], "usage": USAGE}
    assert len(answer["choices"][0]["logprobs"]["top_logprobs"][0]) == 2


def test_models(server):
    answer = server.client.get(f"{server.url}/v1/models").json()
    model = {"id": "str", "object": "model", "created": "int", "owned_by": "str"}
    assert plain(answer) == {"object": "list", "data": [model]}
    (shown,) = [each for each in answer["data"] if each["id"] == "joined:*"]
    assert server.client.get(f"{server.url}/v1/models/joined:*").json() == shown


def test_errors(server):
    for path in ("chat/completions", "completions"):
        for content in ("{", "[]", "7", '{"model": 7}', '{"model": "joined:label"}'):
            headers = {"Content-Type": "application/json"}
            answer = server.client.post(f"{server.url}/v1/{path}", content=content, headers=headers)
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert list(error) == ["message", "type", "param", "code"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    answer = server.client.get(f"{server.url}/v1/models/gpt")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_half_of_a_character_is_refused(server):
    """JSON can name it, but no text has it."""
    text = "\ud800"
    bodies = {
        "messages[0].content": {"messages": [{"role": "user", "content": text}]},
        "prompt": {"prompt": ["a", text]},
    }
    for where, body in bodies.items():
        path = "completions" if where == "prompt" else "chat/completions"
        content = json.dumps({"model": "all", **body})
        headers = {"Content-Type": "application/json"}
        answer = server.client.post(f"{server.url}/v1/{path}", content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == where
        expected = rf"{where} has half of a surrogate pair (\ud800), which is not a character."
        assert answer.json()["error"]["message"] == expected
