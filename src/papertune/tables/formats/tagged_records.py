"""Parses records of tagged lines: RIS, PubMed, Web of Science, EndNote and RefWorks exports.

A record is its tags with all their values, in the order of the file. rispy's own parser drops or mixes up repeated tags
and whatever stands before the first tag, so only its lists of tags are used.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

Record = dict[str, list[str]]

# What programs write between records: their numbers; above the first one: what wrote the file.
_NO_TEXT = re.compile(r"<?\d+[.>]*|Record(?: \d+.*)?|(?:Provider|Database|Content): .*")


@dataclass(frozen=True)
class Dialect:
    """How an export writes its records.

    Attributes:
        line: Matches a line with a tag; its groups are the tag, in any case, and the content.
        start: The tag that each record has once, near its start; None: a blank line ends a record.
        end: The tag that ends a record, if there is one.
        outside: Tags that belong to the file and to no record.
        lists: Tags of which a further line without a tag is a further value; elsewhere it continues the text.
    """

    line: re.Pattern[str]
    start: str | None
    end: str | None = None
    outside: Collection[str] = ()
    lists: Collection[str] = ()


@dataclass
class Leftovers:
    """What `parse_records` finds beside records.

    Attributes:
        lines: Number of lines of text outside the records, such as tags that the dialect does not have.
        first: The first of them, from 1.
        is_cut_off: Whether the last record has no end tag, unlike those before it.
    """

    lines: int = 0
    first: int = 0
    is_cut_off: bool = False


class UnclearRecordsError(ValueError):
    """Tags stand before the start tag, and records have no end: it is not clear which record they belong to.

    Attributes:
        line: The line of a start tag that has tags before it, from 1.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


def parse_records(lines: Iterable[str], dialect: Dialect, leftovers: Leftovers) -> Iterator[Record]:
    """Yield the records of a file.

    A record ends at its end tag, or at the next start tag once it had one, since some programs write no end. Text
    before the first tag of a record is skipped and counted.

    Args:
        lines: The lines, with or without their ends.
        dialect: How they are written.
        leftovers: Gets what belongs to no record.

    Raises:
        UnclearRecordsError: After the last record.
    """
    record: Record = {}
    last: str | None = None
    late_start = 0  # the line of a start tag with tags before it
    lacks_end = has_end = False
    for number, text in enumerate(lines, start=1):
        line = text.rstrip("\r\n").lstrip("\ufeff")  # where two files were joined
        match = dialect.line.match(line)
        if match is None:
            if last is None and line.strip() and not _NO_TEXT.fullmatch(line.strip()):
                leftovers.first = leftovers.first or number
                leftovers.lines += 1
            _continue(record, last, line.strip(), dialect)
            if dialect.start is None and not line.strip() and record:
                yield record
                record, last = {}, None
            continue
        tag, content = match[1].upper(), (match[2] or "").strip()
        if tag in dialect.outside:
            continue
        begins = tag == dialect.start and tag in record
        if begins or tag == dialect.end:
            lacks_end |= begins
            has_end |= not begins
            if record:
                yield record
            record, last = {}, None
        if tag != dialect.end:
            if tag == dialect.start and record:
                late_start = late_start or number
            record.setdefault(tag, []).append(content)
            last = tag
    if record:
        leftovers.is_cut_off = has_end and not lacks_end
        yield record
    if late_start and lacks_end:
        raise UnclearRecordsError(late_start)


def _continue(record: Record, tag: str | None, content: str, dialect: Dialect) -> None:
    """Add a line without a tag to the last value, or as a further one."""
    if not content or tag is None:
        return
    if tag in dialect.lists:
        record[tag].append(content)
    else:
        record[tag][-1] = f"{record[tag][-1]} {content}".lstrip()
