import pytest

from papertune.kinds import NumberColumn
from papertune.kinds.number.decoder import NumberTokens
from papertune.models import find_base, load_tokenizer
from papertune.prompts import PromptEncoder
from papertune.recipe import EncodingSpec


@pytest.mark.parametrize("answer", ["0", "7", "12", "120", "4999.5", "-3.25", "not stated"])
def test_the_tokens_of_an_answer_may_follow_each_other(chatglm2_folder, answer):
    """Every text begins with the same token, a blank, also the one for "not stated"."""
    tokenizer = load_tokenizer(find_base(chatglm2_folder, None))
    encoder = PromptEncoder(tokenizer, EncodingSpec())
    column = NumberColumn(kind="number", question="How many?", minimum=-10, maximum=5000)
    tokens = NumberTokens(tokenizer, encoder, column.grammar, column.empty)
    written = tokens.start
    for token in encoder.encode_text(answer):
        written = tokens.may_follow(written)[token]
    assert tokens.answer(written) == answer.replace("not stated", "")
