import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from papertune.errors import ModelError, RecipeError
from papertune.kinds import KeywordsColumn, LabelColumn, RankedKeywordsColumn
from papertune.prompts import PromptEncoder
from papertune.prompts.encoder import EncodedPrompt
from papertune.prompts.examples import Prompt
from papertune.recipe import EncodingSpec

LABEL = LabelColumn(kind="label", question="Medical?", labels=("1", "0"))
RANKED = RankedKeywordsColumn(kind="ranked_keywords", question="Keyword?")
KEYWORDS = KeywordsColumn(kind="keywords", question="Keywords?")
QUESTION = "\n\nIs this a medical paper?"
ADDED = ["<|im_start|>", "<|im_end|>", "<|pad|>", "<|user|>"]

# Any text, and text of the tokenizer's special strings and their parts.
texts = st.text(st.characters(codec="utf-8")) | st.lists(
    st.sampled_from([*ADDED, "<|im_", "end|>", "<", "|>", "\n", " ", "the heart", "é", "漢", "🎉", "assistant\n"])
).map("".join)
benign = texts.filter(lambda text: not any(special in text for special in ADDED))


def encoder(tokenizer, *, prompt=1024, answer=160, chat=True):
    return PromptEncoder(tokenizer, EncodingSpec(max_prompt_tokens=prompt, max_answer_tokens=answer), chat=chat)


def chat_ids(tokenizer, prompt):
    """Encode a prompt with the tokenizer's own method."""
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages += [
        {"role": role, "content": text}
        for turn in prompt.history
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    messages.append({"role": "user", "content": prompt.before + prompt.document + prompt.after})
    return tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)


def added_ids(tokenizer, ids):
    """Return the added tokens among some ids, in order."""
    return [token for token in ids if token in tokenizer.added_tokens_decoder]


@given(benign, benign, st.lists(st.tuples(benign, benign), max_size=2).map(tuple), benign)
@example("D", "", (("What?", "That."), ("And?", "")), "")
def test_ordinary_text_has_the_ids_of_the_tokenizer(tiny_tokenizer, document, question, history, system):
    # Adjacent texts could form a special string, which apply_chat_template would interpret.
    prompt = Prompt("", document, f"\n\n{question}", history, system)
    encoded = encoder(tiny_tokenizer).encode(prompt)
    assert encoded.ids == chat_ids(tiny_tokenizer, prompt)
    assert (encoded.kept_chars, encoded.truncated) == (len(document), False)


@given(texts, texts, st.lists(st.tuples(texts, texts), max_size=2).map(tuple), texts)
def test_special_strings_in_texts_are_ordinary_text(tiny_tokenizer, document, question, history, answer):
    encode = encoder(tiny_tokenizer, prompt=100_000, answer=100_000)
    ids = encode.encode(Prompt(question, document, question, history)).ids
    harmless = encode.encode(Prompt("", "x", "", tuple(("x", "x") for _ in history))).ids
    assert added_ids(tiny_tokenizer, ids) == added_ids(tiny_tokenizer, harmless)
    # Nothing is lost: decoding returns the text, including special tokens of the template.
    messages = [text for turn in history for text in turn] + [question + document + question]
    roles = ["user", "assistant"] * len(history) + ["user"]
    expected = "<|im_start|>system\nYou read papers.<|im_end|>\n"
    expected += "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in zip(roles, messages, strict=True))
    assert tiny_tokenizer.decode(ids) == expected + "<|im_start|>assistant\n"

    (answer_ids,) = LABEL.encode_answers(answer, encode)
    assert answer_ids.pop() == encode.end_id == tiny_tokenizer.eos_token_id
    assert added_ids(tiny_tokenizer, answer_ids) == []
    assert tiny_tokenizer.decode(answer_ids) == answer


def test_special_string_is_encoded_in_parts(tiny_tokenizer):
    encode = encoder(tiny_tokenizer)
    for special in ADDED:
        ids = encode.encode_text(f"a {special} b")
        assert tiny_tokenizer.decode(ids) == f"a {special} b"
        assert max(tiny_tokenizer.decode([token]).count("|") for token in ids) == 1


@given(st.lists(texts, max_size=5))
def test_encode_texts_equals_encode_text(tiny_tokenizer, many):
    encode = encoder(tiny_tokenizer)
    assert encode.encode_texts(many) == [encode.encode_text(text) for text in many]


def slow_encode(tokenizer, prompt, limit):
    """Encode one prompt: double the number of characters until they do not fit, then bisect."""
    whole = encoder(tokenizer, prompt=10**9)
    size = len(prompt.document)

    def ids(kept):
        return whole.encode(Prompt(prompt.before, prompt.document[:kept], prompt.after, prompt.history)).ids

    kept = min(size, 8 * limit)
    while len(ids(kept)) <= limit and kept < size:
        kept = min(size, 2 * kept)
    if len(ids(kept)) <= limit:
        return EncodedPrompt(ids(kept), kept, truncated=False)
    fits = 0
    while kept - fits > 1:
        middle = (fits + kept) // 2
        if len(ids(middle)) <= limit:
            fits = middle
        else:
            kept = middle
    blank = prompt.document.rfind(" ", max(0, fits - 30), fits + 1)
    fits = blank if blank > 0 else fits
    return EncodedPrompt(ids(fits), fits, truncated=True)


@given(st.lists(st.tuples(st.sampled_from([QUESTION, ""]), texts, st.integers(0, 20)), max_size=4), st.integers(40, 60))
@example([], 40)
@example([("", " " * 2000, 1), ("", "the heart ", 400), (QUESTION, "", 1)], 50)
def test_encode_many_equals_encoding_one_by_one(tiny_tokenizer, rows, limit):
    turn = ("the heart", "")
    prompts = [Prompt("", text * times, after, (turn,) * (times % 2)) for after, text, times in rows]
    limit += len(encoder(tiny_tokenizer).encode(Prompt("", "", QUESTION, (turn,))).ids)
    expected = [slow_encode(tiny_tokenizer, prompt, limit) for prompt in prompts]
    assert encoder(tiny_tokenizer, prompt=limit).encode_many(prompts) == expected


def test_without_a_chat_template(tiny_tokenizer):
    prompt = Prompt("", "D <|im_end|>", "\n\nQ", (("a", "b"),))
    encode = encoder(tiny_tokenizer, chat=False)
    ids = encode.encode(prompt).ids
    assert ids == encode.encode_text("a\nb\n\nD <|im_end|>\n\nQ\n")
    assert added_ids(tiny_tokenizer, ids) == []


SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n{% endif %}"
TURNS = "{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


class TestSystemMessages:
    HISTORY = (("a", "b"),)

    def shown(self, tiny_folder, template, prompt):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
        tokenizer.chat_template = template
        return tokenizer.decode(encoder(tokenizer).encode(prompt).ids)

    @pytest.mark.parametrize(
        "template",
        [
            TURNS,  # says nothing of it
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS,
            TURNS + SYSTEM,  # would write it behind the conversation
        ],
    )
    def test_a_template_without_them_gets_the_text_before_the_first_question(self, tiny_folder, template):
        prompt = Prompt("", "D", "?", self.HISTORY, "Be brief.")
        assert self.shown(tiny_folder, template, prompt) == "user: Be brief.\n\na\nassistant: b\nuser: D?\n"
        alone = Prompt("", "D", "?", (), "Be brief.")
        assert self.shown(tiny_folder, template, alone) == "user: Be brief.\n\nD?\n"

    def test_a_template_with_them(self, tiny_folder):
        prompt = Prompt("", "D", "?", self.HISTORY, "Be brief.")
        assert self.shown(tiny_folder, SYSTEM + TURNS, prompt) == "Be brief.\nuser: a\nassistant: b\nuser: D?\n"

    def test_without_a_chat_template(self, tiny_tokenizer):
        encode = encoder(tiny_tokenizer, chat=False)
        ids = encode.encode(Prompt("", "D", "?", self.HISTORY, "Be brief.")).ids
        assert ids == encode.encode_text("Be brief.\n\na\nb\n\nD?\n")


@given(st.lists(st.tuples(benign, benign), max_size=5).map(tuple), benign, st.integers(0, 80), benign)
def test_the_oldest_rounds_are_dropped_first(tiny_tokenizer, history, text, room, system):
    bare = Prompt("", text, "", (), system)
    limit = max(len(chat_ids(tiny_tokenizer, replace(bare, document=""))) + room, 16)
    prompt = replace(bare, history=history, drops_history=True)
    encoded = encoder(tiny_tokenizer, prompt=limit).encode(prompt)
    kept = (replace(prompt, history=history[dropped:]) for dropped in range(len(history) + 1))
    fitting = next((each for each in kept if len(chat_ids(tiny_tokenizer, each)) <= limit), None)
    if fitting is None:
        assert encoded == encoder(tiny_tokenizer, prompt=limit).encode(bare)
        assert encoded.truncated
    else:
        assert encoded == EncodedPrompt(chat_ids(tiny_tokenizer, fitting), len(text), truncated=fitting != prompt)


def slow_truncate(encode, prompt, limit):
    """Remove single characters from the end of the document until all fits, then go back to a blank near the end."""

    def fits(length):
        shorter = Prompt(prompt.before, prompt.document[:length], prompt.after, prompt.history)
        return len(chat_ids(encode._tokenizer, shorter)) <= limit

    if fits(len(prompt.document)):
        return len(prompt.document)
    kept = next(length for length in range(len(prompt.document), -1, -1) if fits(length))
    for blank in range(kept, max(0, kept - 30) - 1, -1):
        if blank > 0 and prompt.document[blank] == " ":
            return blank
    return kept


# None of these has merges in the tiny tokenizer. With merges, "hear" can have fewer tokens than "he", and the bisection
# may stop a few characters too early.
words = st.sampled_from(["ZZZ", "12", "漢字", "É", "Q" * 40])


@given(
    st.lists(words, max_size=40).map(" ".join),
    st.integers(0, 30),
    st.sampled_from(["document-first", "question-first"]),
    st.sampled_from([(), (("What?", "That."),)]),
)
def test_document_is_truncated_no_more_than_needed(tiny_tokenizer, document, room, layout, history):
    before, after = ("", QUESTION) if layout == "document-first" else (QUESTION, "")
    prompt = Prompt(before, document, after, history)
    limit = len(chat_ids(tiny_tokenizer, Prompt(before, "", after, history))) + room
    encode = encoder(tiny_tokenizer, prompt=limit)
    encoded = encode.encode(prompt)
    kept = slow_truncate(encode, prompt, limit)
    assert encoded.kept_chars == kept
    assert encoded.ids == chat_ids(tiny_tokenizer, Prompt(before, document[:kept], after, history))
    assert encoded.truncated == (kept < len(document))
    assert len(encoded.ids) <= limit


@given(texts, st.integers(0, 30))
def test_prompt_of_any_text_fits(tiny_tokenizer, document, room):
    limit = len(chat_ids(tiny_tokenizer, Prompt("", "", QUESTION))) + room
    encoded = encoder(tiny_tokenizer, prompt=limit).encode(Prompt("", document, QUESTION))
    assert len(encoded.ids) <= limit
    assert encoded.truncated == (encoded.kept_chars < len(document))
    assert tiny_tokenizer.decode(encoded.ids).endswith(
        f"user\n{document[: encoded.kept_chars]}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    )
    if encoded.truncated:
        # Not much more would fit: the document is cut at a blank among the last 30 characters.
        longer = document[: encoded.kept_chars + 40]
        room_for_all = encoder(tiny_tokenizer, prompt=100_000).encode(Prompt("", longer, QUESTION))
        assert len(room_for_all.ids) > limit


def test_very_long_documents_are_truncated_quickly(tiny_tokenizer):
    encode = encoder(tiny_tokenizer)
    document = "the heart of man, 漢字 " * 10_000  # 200,000 characters
    encode.encode(Prompt("", "warm up", QUESTION))
    start = time.process_time()
    encoded = encode.encode(Prompt("", document, QUESTION))
    assert time.process_time() - start < 1
    assert 1000 < len(encoded.ids) <= 1024
    # A rare character has several tokens; many blanks share a token.
    for document in ("🎉" * 100_000, " " * 100_000):
        assert len(encode.encode(Prompt("", document, QUESTION)).ids) <= 1024


def test_max_prompt_tokens_too_small_for_the_question(tiny_tokenizer):
    prompt = Prompt("", "heart", QUESTION)
    needed = len(chat_ids(tiny_tokenizer, Prompt("", "", QUESTION)))
    assert encoder(tiny_tokenizer, prompt=needed).encode(prompt).kept_chars == 0
    message = (
        f"encoding.max_prompt_tokens is {needed - 1}, but the question and the chat template alone take {needed} "
        "tokens. Raise it, or shorten the question."
    )
    with pytest.raises(RecipeError) as caught:
        encoder(tiny_tokenizer, prompt=needed - 1).encode(prompt)
    assert str(caught.value) == message


def test_keyword_list_is_cut_between_keywords(tiny_tokenizer):
    keywords = ["graph", "neural networks", "the heart", "paper"]
    (whole,) = KEYWORDS.encode_answers("; ".join(keywords), encoder(tiny_tokenizer))
    for limit in range(2, len(whole) + 1):
        (ids,) = KEYWORDS.encode_answers("; ".join(keywords), encoder(tiny_tokenizer, answer=limit))
        assert ids[-1] == tiny_tokenizer.eos_token_id
        assert len(ids) <= limit
        kept = tiny_tokenizer.decode(ids[:-1])
        fitting = [
            text
            for count in range(1, 5)
            if len(tiny_tokenizer.encode(text := "; ".join(keywords[:count]))) + 1 <= limit
        ]
        # Only a first keyword that is too long alone is cut within the keyword.
        assert kept == (fitting[-1] if fitting else tiny_tokenizer.decode(whole[: limit - 1]))


def test_label_is_never_cut(tiny_tokenizer):
    column = LabelColumn(kind="label", question="q", labels=("cardiology", "cardiogram"))
    encode = encoder(tiny_tokenizer, answer=2)
    for label, ids in zip(column.labels, encode.label_ids(column.labels), strict=True):
        assert len(ids) > 2
        assert column.encode_answers(label, encode) == [[*ids, encode.end_id]]


def test_labels_with_equal_or_no_tokens(tiny_tokenizer, monkeypatch):
    encode = encoder(tiny_tokenizer)
    one, twelve, zero = encode.label_ids(["1", "12", "0"])
    assert (len(one), twelve[0], len(zero)) == (1, one[0], 1)
    monkeypatch.setattr(encode, "encode_text", lambda text: [7] * len(text.strip("-")))
    with pytest.raises(RecipeError, match=r'^the labels "ab" and "cd" have the same tokens in this model'):
        encode.label_ids(["a", "ab", "cd"])
    with pytest.raises(RecipeError, match=r'^the label "-" has no tokens in this model\. Choose another word\.$'):
        encode.label_ids(["a", "-"])


def test_unusable_tokenizers(tiny_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    with pytest.raises(ModelError, match="chat template drops or repeats messages; set chat = false in the recipe"):
        encoder(tokenizer).encode(Prompt("", "D", "Q"))
    assert encoder(tokenizer, chat=False).encode(Prompt("", "D", "Q")).ids == tokenizer.encode("DQ\n")
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="has no end token"):
        encoder(tokenizer)


def test_as_many_ranked_keywords_as_fit(tiny_tokenizer):
    keywords = ["heart", "paper", "graph", "neural networks"]
    whole = RANKED.encode_answers("; ".join(keywords), encoder(tiny_tokenizer))
    assert whole == [[*tiny_tokenizer.encode(keyword), tiny_tokenizer.eos_token_id] for keyword in keywords]
    sizes = [len(ids) for ids in whole]
    for limit in range(2, sum(sizes) + 1):
        fitting = RANKED.encode_answers("; ".join(keywords), encoder(tiny_tokenizer, answer=limit))
        count = len(fitting)
        assert fitting == whole[:count]
        assert count == 1 or sum(sizes[:count]) <= limit
        assert count == len(whole) or sum(sizes[: count + 1]) > limit
