"""Damage to files: what disks, transfers, editors and joined exports do to them, and what nobody does but an enemy."""

from collections.abc import Callable

from hypothesis import strategies as st

# What is put into a file.
PIECES = [
    b"\x00", b"\x00\x00\x00\x00", b"\xff", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3",
    b"\x1a", b"\x0b", b"\x0c", b"\x1c", b"\x1e", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\x8b", b"\x7f", b'"',
    b'""', b"'", b"\\", b"\n", b"\r", b"\r\n", b"\n\n\n", b"\t", b",", b";", b"|", b" ", b"{", b"}", b"[", b"]", b":",
    b"=", b"#", b"<", b">", b"&", b"-", b"null", b"NaN", b"-Infinity", b"1e999", b"1e-999", b"-0", b"true", b"\\ud800",
    b"\\u0000", b"\\", b"[" * 3000,
    b"[" * 600 + b"]" * 600, b'{"a":' * 3000, b"(" * 500, b"9" * 5000, b"1" + b"0" * 400, b"1e99999999",
    b"x" * 200_000, b"," * 2000, b'"' * 99, b"sep=;\n", b"sep=\n", b"TY  - JOUR\n", b"ER  - \n", b"PMID- 1\n",
    b"PT J\n", b"ER\n", b"EF\n", b"%0 X\n", b"RT Journal\n", b"AB  - ", b"XX  - ", b"\xc4\xe3\xba\xc3",
    b"\xca\xd4\xd1\xe9" * 9, b"[columns.x]\n", b"__proto__", b"PK\x03\x04", b"PAR1", b"\x1f\x8b", b"\xd0\xcf\x11\xe0",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x0f", b"\x80" * 12,
]  # fmt: skip
ENCODINGS = [
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp1252",
    "gb18030",
    "shift_jis",
    "utf-7",
]
_SWAPS = [
    (b",", b";"), (b",", b"\t"), (b"\n", b"\r\n"), (b"\n", b"\r"), (b"\n", b" "), (b'"', b"'"), (b"  - ", b" - "),
    (b"  - ", b"  -"), (b":", b"="), (b" ", b"\xc2\xa0"), (b'"', b""), (b"{", b"["), (b"e", b"\xe9"),
]  # fmt: skip

# Two places in thousandths of the file, and a number that chooses.
Choice = tuple[int, int, int]


def _span(data: bytes, choice: Choice) -> tuple[int, int]:
    first, second = (place * len(data) // 1000 for place in choice[:2])
    return min(first, second), max(first, second)


def _truncate(data: bytes, choice: Choice) -> bytes:
    return data[: _span(data, choice)[1]]


def _behead(data: bytes, choice: Choice) -> bytes:
    return data[_span(data, choice)[0] :]


def _flip(data: bytes, choice: Choice) -> bytes:
    start, _ = _span(data, choice)
    return data[:start] + bytes([choice[2] % 256]) + data[start + 1 :]


def _flip_bit(data: bytes, choice: Choice) -> bytes:
    start, _ = _span(data, choice)
    return data[:start] + bytes(byte ^ (1 << choice[2] % 8) for byte in data[start : start + 1]) + data[start + 1 :]


def _insert(data: bytes, choice: Choice) -> bytes:
    start, _ = _span(data, choice)
    return data[:start] + PIECES[choice[2] % len(PIECES)] + data[start:]


def _overwrite(data: bytes, choice: Choice) -> bytes:
    start, _ = _span(data, choice)
    piece = PIECES[choice[2] % len(PIECES)]
    return data[:start] + piece + data[start + len(piece) :]


def _drop(data: bytes, choice: Choice) -> bytes:
    start, end = _span(data, choice)
    return data[:start] + data[min(end, start + choice[2] % 200) :]


def _repeat(data: bytes, choice: Choice) -> bytes:
    start, end = _span(data, choice)
    return data[:end] + data[start:end] * (choice[2] % 3 + 1) + data[end:]


def _repeat_header(data: bytes, choice: Choice) -> bytes:
    lines = data.splitlines(keepends=True)
    place = choice[0] * len(lines) // 1000
    return b"".join([*lines[:place], *lines[: choice[2] % 3 + 1], *lines[place:]])


def _twice(data: bytes, choice: Choice) -> bytes:
    return data + [b"", b"\n", b",", b"\xef\xbb\xbf"][choice[2] % 4] + data


def _move(data: bytes, choice: Choice) -> bytes:
    start, end = _span(data, choice)
    return data[:start] + data[end:] + data[start:end]


def _swap(data: bytes, choice: Choice) -> bytes:
    old, new = _SWAPS[choice[2] % len(_SWAPS)]
    start, end = _span(data, choice)
    return data[:start] + data[start:end].replace(old, new) + data[end:]


def _encode(data: bytes, choice: Choice) -> bytes:
    start = _span(data, choice)[0] if choice[1] % 4 == 0 else 0
    text = data[start:].decode("utf-8", "replace")
    return data[:start] + text.encode(ENCODINGS[choice[2] % len(ENCODINGS)], "replace")


def _stretch(data: bytes, choice: Choice) -> bytes:
    start, _ = _span(data, choice)
    return data[:start] + data[start : start + 1] * (choice[2] * 10) + data[start:]


DAMAGES: list[Callable[[bytes, Choice], bytes]] = [
    _truncate, _behead, _flip, _flip_bit, _insert, _insert, _insert, _overwrite, _drop, _repeat, _repeat_header, _twice,
    _move, _swap, _encode, _stretch,
]  # fmt: skip
_choices = st.tuples(st.sampled_from(DAMAGES), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 5000))
# What is done to a file, in order.
damages = st.lists(_choices, min_size=1, max_size=4)


def damaged(data: bytes, done: list[tuple[Callable[[bytes, Choice], bytes], int, int, int]]) -> bytes:
    """Return a file after some damages."""
    for damage, first, second, number in done:
        data = damage(data, (first, second, number))
    return data[:2_000_000]
