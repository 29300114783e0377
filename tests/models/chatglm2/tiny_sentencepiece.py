"""SentencePiece models like the published one, small enough to be trained in a test."""

import io

from sentencepiece import SentencePieceTrainer

SENTENCES = [
    "the effect of aspirin on the heart, a randomised trial in patients",
    "we study the learning of graphs with neural networks; the method is fast",
    "Is this a medical paper? Answer 1 or 0. List the keywords of this paper.",
    "请判断这篇论文是否属于医学领域的文献，并提取关键词。",
    "本文提出了一种方法，在心脏病患者中达到了很高的准确率。",
    "    an indented line  with  gaps",
]


def train(folder, **options):
    """Write a tokenizer.model with 400 pieces, and return its path."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
        **options,
    )
    file = folder / "tokenizer.model"
    file.write_bytes(written.getvalue())
    return file
