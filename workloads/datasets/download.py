"""Fetches one published file: checked while it arrives, and in its place only when it is whole."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from workloads.datasets.files import CHUNK_BYTES, DataFile
from workloads.errors import DataCacheError, DataFetchError

TIMEOUT_S: Final = 30.0

Progress = Callable[[DataFile, int], None]


def download(file: DataFile, data_dir: Path, progress: Progress) -> Path:
    """Fetch a file from the first of its addresses that has it, and return where it lies.

    Raises:
        DataFetchError: no address gave the published bytes; says what each answered.
        DataCacheError: the folder cannot be written.
    """
    target = data_dir / file.folder / file.name
    refusals = []
    for url in file.urls:
        try:
            return _download_from(url, file, target, progress)
        except DataFetchError as error:
            refusals.append(str(error))
    raise DataFetchError(
        f"{file.name} cannot be fetched: {'; '.join(refusals)}. Without a network here, fetch "
        f"{file.urls[0]} on a machine that has one and put it at {target}"
    )


def _download_from(url: str, file: DataFile, target: Path, progress: Progress) -> Path:
    # Imported here: 25 ms and the whole of http, for those who fetch only.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            return _store(answer, url, file, target, progress)
    except HTTPError as error:
        raise DataFetchError(f"{url} answered {error.code} {error.reason}") from error
    except URLError as error:
        words = getattr(error.reason, "strerror", None) or error.reason  # without the system's number
        raise DataFetchError(f"{url} cannot be reached ({words}): no network, or no such host") from error
    except (TimeoutError, ConnectionError, HTTPException) as error:
        raise DataFetchError(f"{url} broke off ({error or type(error).__name__})") from error


def _store(answer: BinaryIO, url: str, file: DataFile, target: Path, progress: Progress) -> Path:
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=target.parent)
        temporary = Path(name)
        with open(handle, "wb") as out:  # noqa: PTH123 - an open descriptor
            _copy_checked(answer, out, url, file, progress)
            os.fsync(out.fileno())
        temporary.chmod(0o644)
        return temporary.replace(target)
    except (DataFetchError, TimeoutError, ConnectionError):
        raise
    except OSError as error:
        raise DataCacheError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _copy_checked(answer: BinaryIO, out: BinaryIO, url: str, file: DataFile, progress: Progress) -> None:
    """Copy what arrives; raises DataFetchError unless it is the published file."""
    sha256, done = hashlib.sha256(), 0
    while chunk := answer.read(CHUNK_BYTES):
        done += len(chunk)
        if done > file.size_bytes:
            break
        sha256.update(chunk)
        out.write(chunk)
        progress(file, done)
    if done != file.size_bytes:
        length = f"more than {file.size_bytes}" if done > file.size_bytes else f"{done} of {file.size_bytes}"
        raise DataFetchError(f"{url} gave {length} bytes")
    if sha256.hexdigest() != file.sha256:
        raise DataFetchError(f"{url} gave other bytes than published (sha256 {sha256.hexdigest()})")
