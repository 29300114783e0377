"""Detects the encoding of a text file, and refuses the file where a guess could garble it."""

import codecs
import io
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from papertune.errors import PapertuneWarning, TableError, quoted

XLSX_SIGNATURE = b"PK\x03\x04"
# First bytes of formats that often have the wrong suffix.
SIGNATURES = {
    XLSX_SIGNATURE: "a zip archive, as Excel's .xlsx is",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls)",
    b"PAR1\x15": "a Parquet file",
    b"\x1f\x8b": "compressed with gzip",
}
CHUNK_BYTES = 1 << 20

# Non-ASCII characters that are checked to distinguish Chinese from bytes that merely decode.
_MAX_CHECKED = 20_000
# In Chinese text, 99.5% of the non-ASCII characters are in GB2312's first level or its punctuation. In Latin-1, UTF-8,
# Big5, Shift-JIS and EUC-JP text that decodes as GB18030 at all, 0-70% are. Korean EUC-KR cannot be distinguished, so
# the warning shows the text.
_MIN_COMMON_SHARE = 0.8


def open_text(file: BinaryIO, source: str, newline: str | None) -> io.TextIOWrapper:
    """Open a file of bytes as text in its own encoding: UTF-8, UTF-16 with a byte order mark, or GB18030.

    Args:
        file: The bytes, seekable; they are read once to detect the encoding.
        source: What messages call the file.
        newline: As for `open`.

    Returns:
        The text from its start, without a byte order mark.

    Raises:
        TableError: If the file is empty, in an unknown encoding, or not text.
    """
    start = file.read(8)
    if not start:
        raise TableError(f"{source} is empty: it has no bytes. Export the table again.")
    for signature, content in SIGNATURES.items():
        if start.startswith(signature):
            raise TableError(
                f"{source} is {content}, not text. Unpack it, save it as .xlsx or .csv, or correct the suffix of its "
                "name."
            )
    file.seek(0)
    if len(start) > 3 and not (any(start[::2]) and any(start[1::2])):
        raise TableError(
            f"{source}: every other byte is zero, as in UTF-16 without a byte order mark. Save it again as UTF-8."
        )
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
        _check_utf16(file, source)
    else:
        encoding = "utf-8-sig" if (bad := _first_bad_utf8(file)) is None else _gb18030(file, source, *bad)
    file.seek(0)
    return io.TextIOWrapper(file, encoding=encoding, newline=newline)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
    yield b""  # tells decoders that this is the end


def _first_bad_utf8(file: BinaryIO) -> tuple[int, int, int] | None:
    """Find the first byte that is not UTF-8.

    Returns:
        Its offset from 0, its line from 1, and the byte; None if all bytes are UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line = 0, 1
    for chunk in _chunks(file):
        pending = decoder.getstate()[0]
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            data = pending + chunk
            return offset - len(pending) + error.start, line + data.count(b"\n", 0, error.start), data[error.start]
        offset += len(chunk)
        line += chunk.count(b"\n")
    return None


def _check_utf16(file: BinaryIO, source: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for chunk in _chunks(file):
            decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{source} starts with the byte order mark of UTF-16 but is not UTF-16 throughout ({error.reason}). "
            "Save it again as UTF-8."
        ) from None


def _gb18030(file: BinaryIO, source: str, offset: int, line: int, byte: int) -> str:
    """Accept a file as GB18030, with a warning, if it reads as Chinese.

    Args:
        file: The bytes, at any position.
        source: What messages call the file.
        offset: Offset from 0 of the first byte that is not UTF-8.
        line: The line of that byte, from 1.
        byte: The byte itself.

    Returns:
        The name of the encoding.

    Raises:
        TableError: If it does not decode, or its text is not Chinese.
    """
    file.seek(0)
    decoder = codecs.getincrementaldecoder("gb18030")()
    checked: list[str] = []
    sample = ""
    try:
        for chunk in _chunks(file):
            text = decoder.decode(chunk, final=not chunk)
            if len(checked) < _MAX_CHECKED:
                found = [char for char in text if char > "\x7f"]
                if found and not checked:
                    sample = text[text.index(found[0]) :][:30]
                checked += found
    except UnicodeDecodeError:
        checked = []
    if not checked or sum(map(_is_common_chinese, checked)) < _MIN_COMMON_SHARE * len(checked):
        raise TableError(
            f"{source}, line {line}: byte 0x{byte:02X} at offset {offset} is not UTF-8, and the file does not read as "
            "Chinese in GB18030 either; it may be Latin-1 (Windows-1252). Save it again as UTF-8: in Excel the type is "
            '"CSV UTF-8", in an editor "save with encoding".'
        )
    warnings.warn(
        f"{source} is not UTF-8 and was read as GB18030; its first Chinese text is {quoted(sample)}. If that is wrong, "
        "save the file again as UTF-8.",
        PapertuneWarning,
        stacklevel=2,
    )
    return "gb18030"


def _is_common_chinese(char: str) -> bool:
    try:
        encoded = char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    # Rows A1-A3 are punctuation and full-width forms, B0-D7 the 3,755 characters of the first level.
    return 0xA1 <= encoded[0] <= 0xA3 or 0xB0 <= encoded[0] <= 0xD7
