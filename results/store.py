"""Result documents on disk: written whole or not at all, read strictly.

A writer checks a document against its own schema before it touches the disk. A reader names the
file, the place in it and the cause.
"""

import re
import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from results.errors import DocumentInvalidError, DocumentMissingError
from results.files import cause_of, write_whole
from results.schema import SCHEMA, SCHEMA_VERSION, Document

MAX_BYTES = 256 * 2**20
TIME_IN_NAMES = "%Y%m%dT%H%M%SZ"
"""Nothing larger is read: a document of 10,000 trials is about 30 MB."""

_NUMBERS = re.compile(r"\[\n(?:\s*(?:-?[\d.eE+-]+|null),?)+\s*\]")


_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)


class _Head(msgspec.Struct):
    schema: str
    schema_version: int


def dumps(document: Document, indent: int = 2) -> str:
    """Return the document as JSON text, with a final newline.

    Raises:
        DocumentInvalidError: The document breaks its own schema (msgspec checks types on reading only).
    """
    try:
        data = msgspec.json.encode(document)
    except (TypeError, ValueError, OverflowError) as error:
        raise DocumentInvalidError(f"the document to be written is not valid: {error}") from error
    loads(data, "the document to be written")
    text = msgspec.json.format(data, indent=indent).decode()
    # Series stay on one line. A line feed in JSON text is never inside a string, so this is exact.
    return (
        _NUMBERS.sub(lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), text)
        + "\n"
    )


def loads(data: bytes | str, source: str = "the text") -> Document:
    """Return the document held by JSON text; `source` names it in errors.

    Raises:
        DocumentInvalidError: Not JSON, not a result document, of a newer version, or against the schema.
    """
    try:
        return msgspec.json.decode(data, type=Document)
    except _UNREADABLE as error:
        _refuse_foreign(data, source)
        raise DocumentInvalidError(f"{source} is not a valid result document: {error}") from error


def read(path: Path) -> Document:
    """Return the document in a file.

    Raises:
        DocumentMissingError: There is no such file.
        DocumentInvalidError: The file cannot be read, or is not a result document (see `loads`).
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DocumentMissingError(
            f"no result document '{path}'; `harness run --json {path}` writes one"
        ) from None
    except IsADirectoryError:
        raise DocumentMissingError(f"'{path}' is a folder; name a result document in it") from None
    except (OSError, ValueError) as error:
        raise DocumentInvalidError(f"'{path}' cannot be read: {cause_of(error, path)}") from error
    if len(data) > MAX_BYTES:
        raise DocumentInvalidError(f"'{path}' is larger than {MAX_BYTES >> 20} MiB: not a result document")
    return loads(data, f"'{path}'")


def write(document: Document, path: Path) -> None:
    """Write the document to `path` whole or not at all; missing folders are made.

    Raises:
        DocumentWriteError: See `results.files.write_whole`.
        DocumentInvalidError: The document breaks its own schema.
    """
    write_whole(path, dumps(document).encode(), hint="name another place with --json FILE")


def default_path(folder: Path, created: datetime) -> Path:
    """Return a new document's place in `folder` (`./runs` by default): sorted by time, one a writer.

    Eight random hexadecimal digits keep apart two writers of the same second.
    """
    return folder / f"{created:{TIME_IN_NAMES}}-{secrets.token_hex(4)}.json"


def _refuse_foreign(data: bytes | str, source: str) -> None:
    """Raise DocumentInvalidError for another kind of document, or one of a newer version."""
    try:
        head = msgspec.json.decode(data, type=_Head)
    except _UNREADABLE:
        return
    if head.schema != SCHEMA:
        raise DocumentInvalidError(f"{source} is a '{head.schema}', not a '{SCHEMA}' document")
    if head.schema_version > SCHEMA_VERSION:
        raise DocumentInvalidError(
            f"{source} has schema version {head.schema_version}, this program reads up to {SCHEMA_VERSION}; "
            "upgrade: pip install --upgrade edge-harness"
        )
