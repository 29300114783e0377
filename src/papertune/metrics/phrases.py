"""The form in which keyphrases are compared: lower case, letters and digits, Porter stems (Porter 1980).

Chinese, Japanese and Korean text has no words to stem: a phrase with such a character is the string of its letters and
digits.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Han with its extensions and compatibility forms, kana, bopomofo, and Hangul (after NFKC: whole syllables).
CJK_CHARACTER = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af]"
)

# 20,000 abstracts have about 100,000 different words.
_MAX_CACHED_WORDS = 1 << 17


def normalise_keyword(text: str) -> str:
    """Return the form in which keywords are compared.

    `Convolutional Neural-Networks.` becomes `convolut neural network`; `Lyapunov 函数` becomes `lyapunov函数`.

    Args:
        text: A keyword as written.

    Returns:
        Stemmed words joined by single blanks; the letters and digits without blanks if the keyword has a Chinese,
        Japanese or Korean character; "" if nothing is left.
    """
    words = keep_letters_and_digits(fold(text))
    if CJK_CHARACTER.search(words):
        return words.replace(" ", "")
    return " ".join(stem(word) for word in words.split())


class _LettersAndDigits(dict[int, str]):
    """A table for `str.translate` that turns all but letters, digits and combining marks into blanks.

    Combining marks stay, because they are the vowels of Hindi and Thai words. Known characters are cached, so long
    texts run at the speed of `str.translate`.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = character.isalnum() or unicodedata.category(character).startswith("M")
        self[code] = character if kept else " "
        return self[code]


_LETTERS_AND_DIGITS = _LettersAndDigits()


def fold(text: str) -> str:
    """Lower-case a text in the form NFKC.

    NFKC unifies characters that look the same: full-width letters of Chinese tables, ligatures of PDF text, and accents
    that are separate characters.
    """
    return unicodedata.normalize("NFKC", text).lower()


def keep_letters_and_digits(text: str) -> str:
    """Replace each character that is not a letter, digit or combining mark by a blank; the length stays the same."""
    return text.translate(_LETTERS_AND_DIGITS)


@lru_cache(maxsize=_MAX_CACHED_WORDS)
def stem(word: str) -> str:
    """Return the Porter stem of a lower-case word."""
    import snowballstemmer

    # As in Porter's own program (https://tartarus.org/martin/PorterStemmer/); Snowball would delete the word "s".
    if len(word) <= 2:
        return word
    # A new stemmer for each new word: it stores its current word and so is not thread-safe.
    return str(snowballstemmer.stemmer("porter").stemWord(word))


def is_mostly_cjk(documents: Iterable[str]) -> bool:
    """Whether more than half of the letters and digits are Chinese, Japanese or Korean."""
    texts = [keep_letters_and_digits(fold(document)).replace(" ", "") for document in documents]
    return 2 * sum(len(CJK_CHARACTER.findall(text)) for text in texts) > sum(len(text) for text in texts)
