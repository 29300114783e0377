"""The page's own algorithms, run in the browser against plain twins in Python."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papertune.templates import parse_template, placeholder, template_columns

pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def call(browser, server):
    """Return a function that calls what a module of the page exports."""
    context = browser.new_context(storage_state=server.cookies)
    page = context.new_page()
    page.goto(server.address)

    def run(module: str, function: str, *arguments: object) -> object:
        code = "async ([module, name, values]) => (await import(module))[name](...values)"
        return page.evaluate(code, [f"/{module}", function, list(arguments)])

    yield run
    context.close()


NAMES = st.text(st.sampled_from('ab {}"\\é标\n'), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(template=st.text(st.sampled_from('{}{}ab "\\\n标'), max_size=24), name=NAMES)
def test_templates_are_read_and_written_as_python_does(call, template, name):
    try:
        parse_template(template)
    except ValueError:
        return
    assert call("core/template.js", "columnsOf", template) == template_columns(template)
    assert call("core/template.js", "placeholder", name) == placeholder(name)


@settings(max_examples=50, deadline=None)
@given(names=st.lists(NAMES.map(str.strip).filter(bool), min_size=2, max_size=4, unique=True), place=st.integers(0, 3))
def test_a_column_can_be_added_to_a_template_and_taken_away(call, names, place):
    template = ""
    for name in names:
        template = call("core/template.js", "withColumn", template, name)
    assert template_columns(template) == names
    gone = names[place % len(names)]
    rest = call("core/template.js", "withoutColumn", template, gone)
    assert template_columns(rest) == [name for name in names if name != gone]


def test_a_line_with_two_columns_keeps_the_other_one(call):
    assert call("core/template.js", "withoutColumn", "{title}. {year}\nabstract: {abstract}", "title") == (
        ". {year}\nabstract: {abstract}"
    )


@settings(max_examples=50, deadline=None)
@given(lowest=st.floats(-1e3, 1e3), span=st.floats(1e-3, 1e6))
def test_the_marks_of_an_axis_are_round_and_inside(call, lowest, span):
    marks = call("parts/chart.js", "ticks", lowest, lowest + span)
    assert 1 <= len(marks) <= 6
    steps = {round(b - a, 12) for a, b in pairwise(marks)}
    assert all(math.isclose(step, min(steps), rel_tol=1e-6) for step in steps)
    assert all(lowest - 1e-6 * span <= mark <= lowest + span * (1 + 1e-6) for mark in marks)


def test_a_long_line_keeps_its_ends_and_the_means_between(call):
    points = [[step, step * 2] for step in range(1000)]
    thin = call("parts/chart.js", "thin", points)
    assert len(thin) == 400
    assert (thin[0], thin[-1]) == ([0, 0], [999, 1998])
    assert all(later[0] > earlier[0] for earlier, later in pairwise(thin))
    assert all(y == pytest.approx(2 * x) for x, y in thin)


def test_events_that_repeat_a_step_replace_it_and_only_the_last_progress_counts(call):
    nothing = {"progress": None, "losses": [], "scores": {}, "messages": [], "end": None}
    events = [
        ["loss", {"step": 10, "loss": 2.0}],
        ["loss", {"step": 20, "loss": 1.5}],
        ["progress", {"phase": "training", "done": 20, "total": 40}],
        ["dev", {"step": 20, "score": 0.5, "name": "score"}],
        ["loss", {"step": 20, "loss": 1.4}],
        ["loss", {"step": 15, "loss": None}],
        ["message", {"level": "note", "text": "resumed"}],
        ["end", {"state": "done", "exit": 0}],
    ]
    assert call("core/stream.js", "follow", nothing, events) == {
        "progress": {"phase": "training", "done": 20, "total": 40},
        "losses": [[10, 2.0], [20, 1.4]],
        "scores": {"score": [[20, 0.5]]},
        "messages": [{"level": "note", "text": "resumed"}],
        "end": {"state": "done", "exit": 0},
    }


def test_what_the_server_refuses_is_said_in_the_language_of_the_page(call):
    refused = ("exists", 'there is a run "a" already.', {"name": "a"})
    assert call("core/i18n.js", "errorText", *refused) == 'there is a run "a" already.'
    call("core/i18n.js", "setLanguage", "zh")
    try:
        assert call("core/i18n.js", "errorText", *refused) == "已有名为“a”的模型。请换一个名字。"
        assert call("core/i18n.js", "errorText", "new_code", "something new.") == "something new."
        # A sentence that needs what the server has not sent gives way to the server's own.
        assert call("core/i18n.js", "errorText", *refused[:2]) == 'there is a run "a" already.'
        missing = {"what": "table", "name": "000001"}
        assert call("core/i18n.js", "errorText", "not_found", "no", missing).startswith("找不到表格“000001”")
        used = {"name": "a", "job": "b", "kind": "predict"}
        assert "任务“b”（填写）" in call("core/i18n.js", "errorText", "run_in_use", "no", used)
        long = {"place": "name", "problem": "string_too_long", "max_length": 200}
        assert call("core/i18n.js", "errorText", "invalid_request", "no", long) == "name 最多可有 200 个字符。"
    finally:
        call("core/i18n.js", "setLanguage", "en")


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("0.5", 0.5), ("f1", "f1"), ('{"a": 0.2}', {"a": 0.2}), ('["x"]', ["x"]), ("1e-3", 0.001)],
)
def test_a_setting_with_several_forms_is_read_as_what_it_looks_like(call, text, value):
    assert call("parts/settings.js", "readLoose", text, True) == value


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my papers (2).csv", "my-papers-2"),
        ("论文.xlsx", "run"),
        (".hidden.csv", "hidden"),
        ("a" * 99, "a" * 60),
        ("search.2026.ris", "search.2026"),
    ],
)
def test_a_run_gets_a_name_that_the_server_accepts(call, file, name):
    assert call("pages/recipe/page.js", "runName", file) == name


def test_an_address_names_a_page_with_its_parts(call):
    link = call("core/router.js", "link", ["tables", "a/b", "é"], {"q": "x&y"})
    assert call("core/router.js", "readHash", link) == {"segments": ["tables", "a/b", "é"], "query": {"q": "x&y"}}
    assert call("core/router.js", "readHash", "#/%zz") == {"segments": ["%zz"], "query": {}}


def test_what_waits_to_be_saved_is_sent_in_order_again_until_the_server_has_it(call, server, browser):
    context = browser.new_context(storage_state=server.cookies)
    page = context.new_page()
    page.goto(server.address)
    seen = page.evaluate("""async () => {
      const { KeptOutbox } = await import("/core/outbox.js");
      const { ApiError } = await import("/core/api.js");
      const tries = [];
      let failures = 2;
      const send = async (changes) => {
        tries.push(changes.map((change) => change.id));
        if (failures-- > 0) throw new ApiError(507, "disk_full", "full");
        if (changes.some((change) => change.id === "bad")) throw new ApiError(400, "invalid", "no");
      };
      const box = new KeptOutbox("test", send, () => {});
      for (const id of ["a", "bad", "b"]) box.add({ id });
      while (box.waiting.length) await new Promise((done) => setTimeout(done, 20));
      return { tries, refused: box.refused, kept: sessionStorage.getItem("papertune.test") };
    }""")
    context.close()
    assert seen["tries"] == [["a"], ["a", "bad", "b"], ["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    assert (seen["refused"], seen["kept"]) == ([{"id": "bad"}], None)


def test_pieces_of_a_stream_are_joined_before_they_are_read(call, server, browser):
    context = browser.new_context(storage_state=server.cookies)
    page = context.new_page()
    page.goto(server.address)
    text = 'data: {"a":1}\n\n: ping\n\ndata: 标题\r\n\r\ndata: [DONE]\n\n'
    read = """async ([text, size]) => {
      const { eventData } = await import("/core/chat.js");
      const bytes = new TextEncoder().encode(text);
      const stream = new ReadableStream({ start(to) {
        for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.slice(at, at + size));
        to.close();
      } });
      const found = [];
      // Chromium may collect the promise of a function that nothing else refers to.
      window.reading = (async () => { for await (const data of eventData(stream)) found.push(data); })();
      await window.reading;
      return found;
    }"""
    found = [page.evaluate(read, [text, size]) for size in (1, 2, 3, 5, 100)]
    context.close()
    assert found == [['{"a":1}', "标题", "[DONE]"]] * 5
