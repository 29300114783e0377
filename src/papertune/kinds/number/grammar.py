"""The numbers a column allows, and which texts can still become one.

A number has one spelling: digits, at most one decimal point, no thousands separators, no zeros that say nothing, and at
most `MAX_DIGITS` digits, which is what a float and a spreadsheet keep.
"""

import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import cached_property

MAX_DIGITS = 15

_COMPLETE = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?", re.ASCII)
_BEGINNING = re.compile(r"(0|[1-9]\d*)(?:(\.)(\d*))?", re.ASCII)
# A number is rounded to `MAX_DIGITS`; if that changes more than this share of it, it cannot be written.
_MAX_ROUNDING = Decimal("1e-6")


@dataclass(frozen=True)
class NumberGrammar:
    """The numbers of a range, as text.

    Attributes:
        minimum: The smallest number, inclusive; None: no limit.
        maximum: The largest number, inclusive; None: no limit.
        integer: Whether only whole numbers are allowed.
        max_digits: How many digits a number may have, before and behind the decimal point together.
    """

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    integer: bool = False
    max_digits: int = MAX_DIGITS

    @property
    def range_in_words(self) -> str:
        """The range, for messages: "from 0 to 100", "from 0", "up to 100"; "" without limits."""
        low = "" if self.minimum is None else f"from {number_text(self.minimum)}"
        high = "" if self.maximum is None else f"{'to' if low else 'up to'} {number_text(self.maximum)}"
        return " ".join(filter(None, (low, high)))

    @property
    def max_characters(self) -> int:
        """How long the text of a number can be."""
        if self.integer and self.minimum is not None and self.maximum is not None:
            return max(len(f"{limit.to_integral_value():f}") for limit in (self.minimum, self.maximum))
        return self.max_digits + 2  # a sign and a decimal point

    def is_in_range(self, value: Decimal) -> bool:
        """Whether a number is neither too small nor too large."""
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def allows(self, value: Decimal) -> bool:
        """Whether a number is in the range and whole where it must be."""
        return self.is_in_range(value) and not (self.integer and value != value.to_integral_value())

    def write(self, value: Decimal) -> str | None:
        """Return a number's text, rounded to `max_digits`; None if that would change it by more than a millionth."""
        before = max(value.adjusted(), 0) + 1
        if before > self.max_digits:
            return None
        rounded = value.quantize(Decimal(1).scaleb(before - self.max_digits), ROUND_HALF_EVEN)
        text = number_text(rounded)
        if abs(rounded - value) > abs(value) * _MAX_ROUNDING or sum(map(str.isdigit, text)) > self.max_digits:
            return None
        return text

    def is_complete(self, text: str) -> bool:
        """Whether a text is an allowed number in its one spelling."""
        if not _COMPLETE.fullmatch(text) or text == "-0" or sum(map(str.isdigit, text)) > self.max_digits:
            return False
        return self.allows(Decimal(text))

    def can_begin(self, text: str) -> bool:
        """Whether an allowed number begins with a text; a complete number begins with itself."""
        if not text:
            return any(map(self.can_begin, "-0123456789"))
        return self._can_begin(text[1:], is_negative=True) if text[0] == "-" else self._can_begin(text)

    def _can_begin(self, text: str, *, is_negative: bool = False) -> bool:
        """Like `can_begin`, of the text behind the sign.

        Numbers are counted in units of the last possible decimal. Those that begin with certain digits are one block
        for each number of digits that may follow; some number of the block must be in the range.
        """
        if not text:
            return any(self._can_begin(digit, is_negative=is_negative) for digit in "0123456789")
        match = _BEGINNING.fullmatch(text)
        if match is None or (self.integer and match[2]):
            return False
        whole, point, decimals = match[1], match[2], match[3] or ""
        if len(whole) + len(decimals) > self.max_digits:
            return False
        one = 10**self.max_digits
        low, high = self._limits[is_negative]
        if point:
            step = 10 ** len(whole)
            width = one // 10 ** len(decimals)
            # 12. and 12.50 are no spelling of their number.
            first = int(whole) * one + int(decimals or "0") * width
            last = first + width - step
            return _has_multiple(max(low, first + step if text[-1] in ".0" else first), min(high, last), step)
        for more in range(1 if whole == "0" else self.max_digits - len(whole) + 1):
            step = one if self.integer else 10 ** (len(whole) + more)
            first = int(whole) * 10**more * one
            last = first + 10**more * one - step
            if _has_multiple(max(low, first), min(high, last), step):
                return True
        return False

    @cached_property
    def _limits(self) -> dict[bool, tuple[int, int]]:
        """The smallest and the largest size of negative (True) and other numbers, in units of the last decimal."""
        one = 10**self.max_digits
        low = -one * one if self.minimum is None else math.ceil(Fraction(self.minimum) * one)
        high = one * one if self.maximum is None else math.floor(Fraction(self.maximum) * one)
        return {False: (max(low, 0), high), True: (max(-high, 1), -low)}


def number_text(value: Decimal) -> str:
    """Return the one spelling of a number."""
    return f"{value.normalize():f}" if value else "0"


def _has_multiple(low: int, high: int, step: int) -> bool:
    """Whether a multiple of `step` is in a closed range."""
    return -(-low // step) * step <= high
