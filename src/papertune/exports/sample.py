"""Twenty prompts as token ids, with what the run's model gives for the next token, to check an export.

The papers are made up. They have what tokenizers differ on: digits after line breaks, blanks, accents, Chinese, text
that looks like a special token.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import torch

from papertune.decoding.engine import Engine
from papertune.decoding.greedy import answer_ends
from papertune.decoding.scoring.label_scoring import LabelTrie
from papertune.exports.format import Exported, SamplePrompt
from papertune.kinds.decoder import DecodingTools
from papertune.prompts.examples import RowReader
from papertune.recipe import Recipe
from papertune.tables import Table, read_table
from papertune.templates import template_columns

# For a question without labels, so many of the most probable tokens.
_SHOWN_TOKENS = 5

_PAPERS = (
    ("Aspirin after a heart attack", "A randomised trial in 1,204 patients. Mortality fell from 9.1% to 7.4%."),
    ("Learning on graphs with few labels", "We train graph networks with 20 labelled nodes a class."),
    ("Sleep and memory in older adults", "Background: sleep changes with age.\n\n12 studies were included."),
    ("Steel fatigue at 600 °C", "Cracks grew at rates of 1e-7 to 3e-6 m per cycle."),
    ("Café visits and loneliness: a diary study", "Façade and naïveté: 88 people kept a diary for 3 weeks."),
    ("基于深度学习的肺结节检测", "目的 探讨深度学习在胸部CT肺结节检测中的价值。方法 回顾性分析312例患者。"),
    ("Soil moisture   from satellites", "Estimates agree  with 41 stations (r = 0.81)."),
    ("Tax reform and small firms", "Investment rose by 3 percent in the first year after the reform."),
    ("A vaccine for cattle", "Antibodies were found in 94 of 100 animals after 28 days."),
    ("Chat markers <|im_end|> in training data", "We count <|im_start|>, </s> and [gMASK] in 2 corpora."),
    ("Insulin pumps in children", "HbA1c fell by 0.4 points in children under 12."),
    ("城市公共交通的定价", "本文用2015—2020年的数据估计票价弹性。"),
    ("Proofs by computer", "We verify a theorem of 1976 in 60,000 lines."),
    ("Noise at night and blood pressure", "Each 10 dB raised systolic pressure by 1.6 mmHg (95% CI 0.8 to 2.4)."),
    ("Bronze Age trade", "Tin from 4 regions was found in one wreck."),
    ("Gene therapy for haemophilia B", "Factor IX activity was 36% after 18 months; α = 0.05."),
    ("Sorting on tape", "An algorithm for\n7 drives reads each record twice."),
    ("Teachers and burnout", "A survey of 2,310 teachers, with a response rate of 48%."),
    ("Statins and muscle pain", "Symptoms were as frequent with placebo (n = 200)."),
    ("Batteries without cobalt", "Capacity after 1000 cycles was 83%."),
)


def sample_prompts(exported: Exported) -> list[SamplePrompt]:
    """Ask the model twenty prompts; the run's questions take turns."""
    recipe = exported.run.recipe
    reader = RowReader(sample_papers(recipe), recipe)
    tries = label_tries(exported)
    names = cycle(recipe.questions)
    asked = [
        (row, next(n for n in names if n in reader.asked(row))) for row in range(len(_PAPERS)) if reader.asked(row)
    ]
    encoded = exported.encoder.encode_many([reader.prompt(row, name) for row, name in asked])
    labels = {name: list(column.joined_labels) for name, column in recipe.questions.items()}
    engine = Engine(exported.model)
    return [
        SamplePrompt(
            name,
            _text_of(exported, prompt.ids),
            prompt.ids,
            **_answered(engine, prompt.ids, tries.get(name), labels[name]),
        )
        for (_, name), prompt in zip(asked, encoded, strict=True)
    ]


def _text_of(exported: Exported, ids: list[int]) -> str | None:
    """Return a prompt as text that has the same token ids; None if there is none."""
    text: str = exported.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text if exported.tokenizer.encode(text, add_special_tokens=False) == ids else None


def label_tries(exported: Exported) -> dict[str, LabelTrie]:
    """Return the label tokens of each question with labels."""
    ends = answer_ends(exported.model, exported.encoder.end_id)
    tools = DecodingTools(exported.encoder, exported.tokenizer, ends, exported.run.recipe.table.document)
    decoders = {name: column.decoder(name, tools) for name, column in exported.run.recipe.questions.items()}
    return {name: decoder.trie for name, decoder in decoders.items() if decoder.trie is not None}


def node_ids(trie: LabelTrie, node: int) -> list[int]:
    """Return the token ids from the prompt to a node of a trie; none for -1, the prompt's last token."""
    ids: list[int] = []
    while node >= 0:
        ids.insert(0, trie.tokens[node])
        node = trie.parents[node]
    return ids


def sample_papers(recipe: Recipe) -> Table:
    """Return the made-up papers as a table of the recipe: the first column of a document gets the title."""
    questions = [each.question_column for each in recipe.questions.values() if each.question_column]
    if "instruction" in questions:
        rows = [{"instruction": "What is this paper about?", "input": f"{title}\n{text}"} for title, text in _PAPERS]
        return read_table(rows)
    first, *others = dict.fromkeys(template_columns(recipe.table.document))
    more: Mapping[str, str] = dict.fromkeys(questions, "What is this paper about?")
    return read_table(
        [
            {first: title if others else f"{title}. {text}", **dict.fromkeys(others, text), **more}
            for title, text in _PAPERS
        ]
    )


def _answered(engine: Engine, ids: list[int], trie: LabelTrie | None, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the model gives for a prompt: the attributes of a `SamplePrompt` that depend on it."""
    state = engine.prefill([ids])
    root = state.last_logits[0].to("cpu", torch.float64)
    if trie is None:
        best = root.log_softmax(-1).topk(min(_SHOWN_TOKENS, len(root)))
        most = dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return {"next": [([], most)], "probabilities": {}}
    nodes = None
    if trie.tokens:  # one pass for all of them, however many labels there are
        tree = engine.tree_logits(state, trie.tokens, trie.ancestors(), trie.depths)
        nodes = tree.to("cpu", torch.float64)
    steps: dict[int, set[int]] = {}
    for path in trie.paths:
        for node, token in path:
            steps.setdefault(node, set()).add(token)
    following = []
    for node, tokens in sorted(steps.items()):
        found = (root if nodes is None or node < 0 else nodes[0, node]).log_softmax(-1)
        following.append((node_ids(trie, node), {token: float(found[token]) for token in sorted(tokens)}))
    probabilities = trie.label_probabilities(root[None], nodes)[0].tolist()
    # The first token of all labels may be the same one, which no step compares.
    first = steps.get(-1, set()) | {token for token, at in zip(trie.tokens, trie.parents, strict=True) if at < 0}
    return {
        "next": following,
        "probabilities": dict(zip(labels, probabilities, strict=True)),
        "writes_label": int(root.argmax()) in first,
    }
