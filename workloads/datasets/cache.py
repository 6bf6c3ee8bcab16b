"""Unpacked copies, made once and kept by the checksum of what they were made from.

A copy is a folder that appears as a whole: it is built under a temporary name and renamed, so that a
killed run leaves nothing half-made under the real name, and two runs at once both find a good copy.
`manifest.json` in it says how long every file is, and of which source files (path, length, time of
change) the checksums have been verified, so that 174 MB are not hashed again before every trial.
"""

import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from workloads.errors import DataCacheError, WorkloadError

FORMAT: Final = 1  # of the unpacked copies; a change makes every kept copy stale
STALE_S: Final = 24 * 3600
MANIFEST: Final = "manifest.json"

Facts = dict[str, int]


class Recipe(NamedTuple):
    """How one unpacked copy is made.

    `fingerprint` (of the sources' content) names the copy. `verify` checks the sources, `build` writes
    plain files into the empty folder it is given and returns what a reader must know (counts, classes).
    """

    label: str
    fingerprint: str
    sources: Sequence[Path]
    verify: Callable[[], None]
    build: Callable[[Path], Facts]


class Cache:
    """The folder that holds unpacked copies.

    Args:
        root: a folder (made if missing), or None for `$XDG_CACHE_HOME/edge-harness`
            (`~/.cache/edge-harness`), falling back to a private folder under the temporary directory.

    Raises:
        DataCacheError: the folder cannot be made or written, or belongs to somebody else.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = _usable(root.absolute()) if root else _default_root()

    def get(self, recipe: Recipe) -> tuple[Path, Facts]:
        """Return the folder of the unpacked copy and its facts, building it if it is not there or damaged.

        Raises:
            DataCacheError: it cannot be written (a full disk, no permission).
            DataError: whatever `verify` and `build` find wrong with the sources.
        """
        folder = self.root / f"{recipe.label}-{recipe.fingerprint[:16]}-v{FORMAT}"
        stamps = [_stamp(path) for path in recipe.sources]
        manifest = _intact_manifest(folder)
        if manifest is None:
            recipe.verify()
            manifest = self._build(folder, recipe, stamps)
        elif not all(stamp in manifest["verified"] for stamp in stamps):
            recipe.verify()
            manifest["verified"] = stamps
            _write_manifest(folder, manifest)
        return folder, manifest["facts"]

    def _build(self, folder: Path, recipe: Recipe, stamps: list[list[Any]]) -> dict[str, Any]:
        building: Path | None = None
        try:
            self._sweep()
            building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=self.root))
            facts = recipe.build(building)
            sizes = {path.name: path.stat().st_size for path in building.iterdir()}
            manifest: dict[str, Any] = {"facts": facts, "files": sizes, "verified": stamps}
            _write_manifest(building, manifest)
            _put_in_place(building, folder)
        except WorkloadError:
            raise
        except OSError as error:
            raise DataCacheError(
                f"the unpacked copy of {recipe.label} cannot be written to {self.root}: "
                f"{error.strerror or error}; make room there or name another folder in XDG_CACHE_HOME"
            ) from error
        finally:
            if building is not None:
                shutil.rmtree(building, ignore_errors=True)
        return manifest

    def _sweep(self) -> None:
        """Remove what killed runs left under temporary names a day ago or longer."""
        for path in self.root.glob("*.tmp-*"):
            if time.time() - path.stat().st_mtime > STALE_S:
                shutil.rmtree(path, ignore_errors=True)


def _put_in_place(building: Path, folder: Path) -> None:
    """Rename the finished copy; a damaged one in its place is removed, a good one made meanwhile is kept."""
    if folder.exists() and _intact_manifest(folder) is None:
        shutil.rmtree(folder)
    try:
        building.rename(folder)
    except OSError:
        if _intact_manifest(folder) is None:
            raise


def _intact_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a copy whose files all have their lengths, else None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        sizes: dict[str, int] = manifest["files"]
        if all((folder / name).stat().st_size == size for name, size in sizes.items()):
            return {"facts": dict(manifest["facts"]), "files": sizes, "verified": list(manifest["verified"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    temporary.write_text(json.dumps(manifest))
    temporary.replace(folder / MANIFEST)


def _stamp(path: Path) -> list[Any]:
    facts = path.stat()
    return [str(path.absolute()), facts.st_size, facts.st_mtime_ns]


def _default_root() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - never raises
    try:
        if not Path(home).is_absolute():  # the XDG rule: a relative path is to be ignored
            raise DataCacheError(f"{home} is not an absolute path")
        return _usable(Path(home) / "edge-harness")
    except DataCacheError:
        # Where this is a tmpfs the copies cost memory: name a disk in XDG_CACHE_HOME on small devices.
        return _usable(Path(tempfile.gettempdir()) / f"edge-harness-{os.getuid()}")


def _usable(root: Path) -> Path:
    """Return a folder that is ours and can be written: under a shared parent it must be nobody else's."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = root.lstat()
    except OSError as error:
        raise DataCacheError(
            f"{root} cannot be made: {error.strerror}; name another in XDG_CACHE_HOME"
        ) from error
    shared = root.parent.stat().st_mode & stat.S_ISVTX
    if shared and (facts.st_uid != os.getuid() or not stat.S_ISDIR(facts.st_mode)):
        raise DataCacheError(f"{root} belongs to somebody else; name another folder in XDG_CACHE_HOME")
    if not os.access(root, os.W_OK | os.X_OK):
        raise DataCacheError(f"{root} cannot be written; name another folder in XDG_CACHE_HOME")
    return root
