"""Number cells: from the text of a table to a number.

A comma or full stop before exactly three digits can be a decimal mark or separate thousands. So a cell can have two
readings. Those that are not allowed (out of range, or not whole) are dropped; where two remain, the other cells of the
column decide. Where these show nothing, a full stop is a decimal mark, but in a column of whole numbers a comma
separates thousands; other cells are ambiguous, and a person has to decide.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from papertune.errors import Sentence, quoted
from papertune.kinds.number.grammar import NumberGrammar, number_text

DecimalMark = Literal[".", ","]
# The numbers that a cell can mean, by the decimal mark that each spelling needs; "" where there is none to decide.
Readings = dict[str, Decimal]

_MINUS = ("−", "–", "—", "‒", "﹣")
_NUMBER = re.compile(r"([+-]?) ?(\d[\d.,' ]*|[.,]\d+)(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
# A number that stands by itself: not the 53 of p53, nor the 19 of COVID-19.
_NUMBER_IN_TEXT = re.compile(r"(?<![\w.,-])[+-]?\d+(?:[.,']\d+)*(?![\w-]|[.,']\d)", re.ASCII)
# Thousands: groups of three, or the Indian way, groups of two and a last one of three.
_GROUPS = {
    mark: re.compile(r"[1-9]\d?\d?(?:,\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3}".replace(",", re.escape(mark)), re.ASCII)
    for mark in ".,' "
}


@dataclass(frozen=True)
class CellRules:
    """How the cells of a column are read.

    Attributes:
        grammar: The numbers that are allowed.
        unit: The unit that may be beside a number.
        decimal_mark: The decimal mark of all cells; None: each cell's own.
    """

    grammar: NumberGrammar
    unit: str = ""
    decimal_mark: DecimalMark | None = None

    def readings(self, cell: str) -> Readings:
        """Return all numbers that a cell can mean, also those that are not allowed."""
        found = spellings(without_unit(tidy(cell), self.unit))
        if self.decimal_mark is None:
            return found
        return {mark: value for mark, value in found.items() if mark in ("", self.decimal_mark)}

    def allowed(self, cell: str) -> Readings:
        """Return the allowed numbers that a cell can mean; an ambiguous cell has two."""
        return {mark: value for mark, value in self.readings(cell).items() if self.grammar.allows(value)}

    def read(self, cell: str) -> str | None:
        """Return a cell's number in its one spelling; None if the cell is invalid or ambiguous."""
        allowed = self.allowed(cell)
        mark = self._usual_mark(cell) if len(allowed) > 1 else next(iter(allowed), None)
        return None if mark is None else self.grammar.write(allowed[mark])

    def find(self, text: str) -> list[str]:
        """Return the allowed numbers that stand by themselves in a text, with a full stop as decimal mark, in order."""
        rules = CellRules(self.grammar, decimal_mark=".")
        found = (rules.read(match.group()) for match in _NUMBER_IN_TEXT.finditer(text))
        return [number for number in found if number]

    def _usual_mark(self, cell: str) -> str | None:
        """Return the decimal mark of an ambiguous cell where no other cell shows it; None if there is no usual one."""
        return "." if ("," in tidy(cell)) == self.grammar.integer else None

    def evidence(self, cells: Iterable[str]) -> dict[str, str]:
        """Return the decimal marks that the cells of a column show, each with the first cell that shows it."""
        shown: dict[str, str] = {}
        for cell in cells:
            if _may_have_mark(cell):
                allowed = self.allowed(cell)
                if len(allowed) == 1 and (mark := next(iter(allowed))):
                    shown.setdefault(mark, cell)
            if len(shown) == 2:
                break
        return shown

    def resolve(self, cells: Iterable[str]) -> dict[str, str]:
        """Return the numbers of a column's ambiguous cells, by cell, as far as the column or what is usual decides."""
        distinct = [cell for cell in dict.fromkeys(cells) if _may_have_mark(cell)]
        ambiguous = {cell: allowed for cell in distinct if len(allowed := self.allowed(cell)) > 1}
        shown = self.evidence(distinct) if ambiguous else {}
        resolved: dict[str, str] = {}
        for cell, allowed in ambiguous.items():
            mark = self._usual_mark(cell)
            if shown:
                mark = next(iter(shown)) if len(shown) == 1 else None
            if mark is not None and (text := self.grammar.write(allowed[mark])) is not None:
                resolved[cell] = text
        return resolved

    def problem(self, cell: str, name: str, shown: dict[str, str]) -> str:
        """Return what is wrong with a cell that has no number or is not resolved, and what to do.

        Args:
            cell: The cell.
            name: The column's name in the recipe.
            shown: What `evidence` returns for the column.
        """
        found = self.readings(cell)
        allowed = self.allowed(cell)
        text = quoted(cell.strip())
        if len(allowed) > 1:
            either = f"{text} can be {' or '.join(map(number_text, allowed.values()))}, and"
            if len(shown) == 2:
                both = " and ".join(quoted(each) for each in shown.values())
                said = f"{either} {both} have different decimal marks. Use the same one in all cells."
            else:
                said = (
                    f"{either} no other cell shows which. Write the number that is meant in plain digits, or set "
                    f'columns.{name}.decimal_mark to "." or ",".'
                )
            return Sentence(said, "ambiguous_number", value=cell)
        if allowed:
            said = f"{text} has more digits than papertune writes. Use another unit, or round it."
            return Sentence(said, "too_many_digits", value=cell)
        if found:
            value = next(iter(found.values()))
            in_range = [each for each in found.values() if self.grammar.is_in_range(each)]
            if in_range:
                said = f"{text} is not a whole number. Correct it, or set columns.{name}.integer to false."
                return Sentence(said, "not_whole", value=cell)
            said = (
                f"{text} is {number_text(value)}, which is not {self.grammar.range_in_words}. Correct it, or change "
                f"columns.{name}.minimum or maximum."
            )
            return Sentence(said, "out_of_range", value=cell)
        return Sentence(f"{text} is not a number. {self._remedy(cell, name)}", "no_number", value=cell)

    def _remedy(self, cell: str, name: str) -> str:
        plain = without_unit(tidy(cell), self.unit)
        if self.decimal_mark is not None and spellings(plain):
            return f'Write the decimal mark as columns.{name}.decimal_mark has it, which is "{self.decimal_mark}".'
        numbers, beside = _apart(plain)
        if len(numbers) > 1:
            return f"It has several ({', '.join(numbers[:3])}{', ...' if len(numbers) > 3 else ''}): write one."
        if not self.unit and _can_be_unit(beside):
            return f"Set columns.{name}.unit to {quoted(beside)} if that is its unit, or write the number alone."
        if numbers:
            return (
                f'Write the number alone, or with its unit "{self.unit}".' if self.unit else "Write the number alone."
            )
        return "Write it with digits, or leave the cell empty if no number is stated."


def _may_have_mark(cell: str) -> bool:
    return "." in cell or "," in cell or not cell.isascii()


def guess_unit(cells: Sequence[str]) -> str:
    """Return what most often stands beside the number of a cell; "" if that is in less than a tenth of the cells."""
    beside = (text for numbers, text in map(_apart, map(tidy, cells)) if len(numbers) == 1 and _can_be_unit(text))
    return next((unit for unit, count in Counter(beside).most_common(1) if 10 * count >= len(cells)), "")


def _apart(text: str) -> tuple[list[str], str]:
    """Return the numbers of a tidied text, and what stands beside the first of them; "" without a number."""
    numbers = re.findall(r"\d(?:[\d.,']*\d)?", text)
    return numbers, " ".join(text.replace(numbers[0], " ").split()) if numbers else ""


def _can_be_unit(text: str) -> bool:
    return any(each.isalpha() or each in "%€$£¥°" for each in text)


def tidy(cell: str) -> str:
    """Return a cell with plain digits and single blanks; superscripts and fractions stay, since they are not digits."""
    return " ".join("".join(map(_plain, cell)).split())


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    if "！" <= character <= "～":
        return chr(ord(character) - 0xFEE0)
    if character in "’‘′٬":
        return "'"
    return "." if character == "٫" else character


def without_unit(text: str, unit: str) -> str:
    """Return a tidied cell without its unit, which may stand before or behind the number, in the plural or singular."""
    if not unit:
        return text
    forms = {
        (form := tidy(unit).casefold()),
        f"{form}s",
        f"{form}es",
        re.sub("y$", "ies", form),
        re.sub("e?s$", "", form),
    }
    forms |= {re.sub("ies$", "y", form), re.sub("s$", "", form)}
    for each in sorted(forms - {""}, key=len, reverse=True):
        folded = text.casefold()
        # Folding may change the length of other letters, but then the unit is not found.
        if len(folded) != len(text):
            break
        if folded.endswith(each) and not text[: -len(each)].rstrip().endswith(tuple("abcdefghijklmnopqrstuvwxyz")):
            return text[: -len(each)].rstrip()
        if folded.startswith(each):
            return text[len(each) :].lstrip()
    return text


def spellings(text: str) -> Readings:
    """Return the numbers that a tidied text without a unit can mean; none if it is not a number."""
    match = _NUMBER.fullmatch(f"-{text[1:]}" if text.startswith(_MINUS) else text)
    if match is None:
        return {}
    sign, body, exponent = match.groups()
    found: Readings = {}
    for mark, digits in _plain_digits(body).items():
        value = Decimal(f"{sign}{digits}").scaleb(int(exponent or 0))
        found[mark] = value if value else abs(value)
    return found


def _plain_digits(body: str) -> dict[str, str]:
    """Return a number without a sign in plain digits with a full stop, by the decimal mark that the spelling needs."""
    marks = [mark for mark in ".," if mark in body]
    separators = [each for each in " '" if each in body]
    if not marks:
        whole = _without_groups(body, separators)
        return {} if whole is None else {"": whole}
    # The decimal mark is the last one.
    last = max(map(body.rfind, marks))
    mark, behind = body[last], body[last + 1 :]
    found: dict[str, str] = {}
    whole = _without_groups(body[:last], [*separators, *(each for each in marks if each != mark)])
    if whole is not None and (behind.isdecimal() or not behind):
        found[mark] = f"{whole or '0'}.{behind or '0'}"
    if len(marks) == 1 and (whole := _without_groups(body, [*separators, mark])) is not None:
        found["," if mark == "." else "."] = whole
    return found


def _without_groups(digits: str, separators: list[str]) -> str | None:
    """Return digits without what separates their thousands; None if they are not in such groups."""
    if not separators:
        return digits if not digits or digits.isdecimal() else None
    if len(separators) > 1 or not _GROUPS[separators[0]].fullmatch(digits):
        return None
    return digits.replace(separators[0], "")
