"""The folders that steps make: written whole or not at all, with a manifest that lists every file."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.processes import rank
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    CALIBRATION,
    AdapterManifest,
    BackboneManifest,
    Calibration,
    ExportManifest,
    FileStamp,
    Manifest,
    MergedManifest,
    ScoreManifest,
)
from dialoguellm_release.schemas.release import RELEASE_FILE

MANIFEST = "manifest.json"
BOOKS = (RELEASE_FILE, CALIBRATION, ".git", ".gitattributes", ".cache")
"""What publishing, calibrating and downloading add at the top of a folder; no manifest lists it."""

MANIFESTS: dict[Kind, type[Manifest]] = {
    "dataset": DatasetManifest,
    "backbone": BackboneManifest,
    "adapter": AdapterManifest,
    "score": ScoreManifest,
    "merged": MergedManifest,
    "export": ExportManifest,
}
"""The manifest of each kind of folder: the one list of them."""

MADE_BY: dict[Kind, str] = {
    "dataset": "dlm-release dataset build",
    "backbone": "dlm-release adapter train",
    "adapter": "dlm-release adapter train",
    "score": "dlm-release score run",
    "merged": "dlm-release adapter merge",
    "export": "dlm-release adapter export",
}
"""The command that makes a folder of each kind."""

AnyManifest = TypeVar("AnyManifest", bound=Manifest)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Output:
    """What was made: the files of a folder are written, and this is what its manifest says of them."""

    content_sha256: str  # hash of the content in canonical form
    # The fields of the manifest that this kind of folder has beside those of every manifest.
    fields: Mapping[str, Any]
    # The native files that were read, relative to the `sources` of the step.
    files: tuple[FileStamp, ...] = ()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(content: Path | bytes) -> str:
    """The id that git gives to a file's content.

    >>> git_blob_id(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
        return digest.hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def stamp(path: Path, root: Path) -> FileStamp:
    """A file's path relative to `root`, its size and hash."""
    return FileStamp(
        path=path.relative_to(root).as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path)
    )


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder but its manifest and what git and the Hub keep there, by path."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in (MANIFEST, *BOOKS)
    )


def stamps(folder: Path) -> tuple[FileStamp, ...]:
    """The stamps of the files of a folder, by path."""
    return tuple(in_threads(partial(stamp, root=folder), files_of(folder)))


def in_threads(call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The result of each item, in order, by a thread per core; for calls that release Python's lock.

    >>> list(in_threads(len, ["a", "bc"]))
    [1, 2]
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(call, items)


def canonical_json(value: BaseModel | dict[str, object]) -> str:
    """JSON with sorted keys and no white space: the form that is hashed."""
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def leaves(value: JsonValue, path: str = "") -> dict[str, JsonValue]:
    """The values of a nested mapping by their key path."""
    if not isinstance(value, dict):
        return {path: value}
    prefix = f"{path}." if path else ""
    return {key: leaf for name, inner in value.items() for key, leaf in leaves(inner, prefix + name).items()}


def sha256_of_text(text: str) -> str:
    """The SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def combined_sha256(parts: Iterable[tuple[str, str]]) -> str:
    """One hash over named hashes, whatever their order."""
    return sha256_of_text("".join(f"{name} {digest}\n" for name, digest in sorted(parts)))


def package_versions(*names: str) -> dict[str, str]:
    """The installed versions of this package and of others; a package that is not installed is left out."""
    found = {}
    for name in ("dialoguellm-release", *names):
        try:
            found[name] = _installed(name)
        except PackageNotFoundError:
            continue
    return found


_installed = cache(version)  # it reads the metadata of a package again each time


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`, as the last file of a staged folder."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_manifest(folder: Path, model: type[AnyManifest]) -> AnyManifest:
    """The manifest of a folder."""
    path = folder / MANIFEST
    kind = model.model_fields["kind"].default
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        what = f"no {kind} folder here ({error.strerror})"
        fix = f"make it with: {MADE_BY[kind]}; or name the folder where it is"
        raise DataError(Problem(str(path), what, fix=fix, code="folders.no_manifest")) from error
    except ValidationError as error:
        found = kind_of(folder)
        if isinstance(found, str) and found != kind and found in MADE_BY:
            what, fix = "is of another kind of folder", f"name a folder of kind {kind}"
            raise DataError(Problem(str(path), what, kind, found, fix, code="folders.other_kind")) from error
        what, fix = f"not the manifest of a {kind}", f"make the {kind} again"
        problems = problems_of(error, str(path), what, code="folders.damaged_manifest", fix=fix)
        raise DataError(problems) from error


def kind_of(folder: Path) -> object:
    """The kind that a folder's manifest states; None where there is no manifest to read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return manifest.get("kind") if isinstance(manifest, dict) else None


def read_calibration(folder: Path, adapter: AdapterManifest) -> Calibration | None:
    """The calibration of an adapter folder; None where it has none."""
    path = folder / CALIBRATION
    fix = "remove it, or fit it again with: dlm-release score calibrate"
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(Problem(str(path), what, code="calibration.damaged")) from error
    except ValidationError as error:
        problems = problems_of(error, str(path), "not a calibration", code="calibration.damaged", fix=fix)
        raise DataError(problems) from error
    if found.adapter_content_sha256 != adapter.content_sha256:
        what, code = "is the calibration of another adapter", "calibration.other_adapter"
        contents = f"content {adapter.content_sha256}", f"content {found.adapter_content_sha256}"
        raise DataError(Problem(str(path), what, *contents, fix, code=code))
    return found


def file_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Files that are not as the manifest of their folder says."""
    again, stated = f"make the {manifest.kind} again", {file.path for file in manifest.outputs}
    yield from changed_files(folder, manifest.outputs, again, "folders")
    for path in files_of(folder):
        if path.relative_to(folder).as_posix() not in stated:
            fix = f"move it away, or {again}"
            yield Problem(str(path), "is not in the manifest", fix=fix, code="folders.file_unknown")


def changed_files(folder: Path, files: Iterable[FileStamp], fix: str, room: str) -> Iterator[Problem]:
    """Files of a folder that are missing or are not as they were stamped; codes are those of a room."""

    def problem(file: FileStamp) -> Problem | None:
        path = folder / file.path
        if not path.is_file():
            what = "is missing, but the manifest lists it"
            return Problem(str(path), what, fix=fix, code=f"{room}.file_missing")
        if (found := stamp(path, folder)) == file:
            return None
        expected, got = (f"{one.bytes} bytes, sha256 {one.sha256}" for one in (file, found))
        what, code = "is not the file that was made: the manifest lists another", f"{room}.file_changed"
        return Problem(str(path), what, expected, got, fix, code=code)

    yield from filter(None, in_threads(problem, files))


@contextmanager
def staged(out: Path, kind: Kind) -> Iterator[Path]:
    """A temporary sibling that takes the place of `out` when the block ends well, and goes when it does not.

    Why: whoever looks at `out` sees the old folder or the new one, never half of either. What a killed
    run left behind is removed by the next one. Of several processes of one run the first alone
    writes `out`; the others get a folder that is thrown away.
    """
    if rank():
        with tempfile.TemporaryDirectory(prefix="dlm-release-") as elsewhere:
            yield Path(elsewhere)
        return
    out = out.absolute()
    partial, previous, lock = _siblings(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock, out):
        _restore(previous, out)
        _refuse_foreign(out, kind)
        _remove(partial)
        partial.mkdir()
        try:
            yield partial
            _let_others_read(partial)
            if out.exists():
                _remove(previous)
                out.rename(previous)
            partial.rename(out)
        finally:
            _restore(previous, out)
            _remove(previous)
            _remove(partial)


def clear_left_over(out: Path) -> None:
    """Removes what a run left beside its folder that was killed just after it had placed it."""
    partial, previous, lock = _siblings(out.absolute())
    if lock.exists():
        with suppress(DataError, PermissionError), alone(lock, out):
            _remove(previous)
            _remove(partial)


def _siblings(out: Path) -> tuple[Path, Path, Path]:
    """Where a folder is made, where the one before it waits until it is, and the lock."""
    hidden = f".{out.name}"
    return (
        out.with_name(f"{hidden}.partial"),
        out.with_name(f"{hidden}.previous"),
        out.with_name(f"{hidden}.lock"),
    )


@contextmanager
def alone(lock: Path, out: Path) -> Iterator[None]:
    """Holds a lock file, which the system frees when a run is killed."""
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_the_file_there = lock.exists() and os.path.samestat(os.fstat(handle.fileno()), lock.stat())
        except BlockingIOError:
            is_the_file_there = False
        if not is_the_file_there:
            fix = "wait for it to end"
            raise DataError(Problem(str(out), "another run is writing here", fix=fix, code="folders.locked"))
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _let_others_read(folder: Path) -> None:
    """Gives every file the mode of its folder: safetensors writes files that only their owner may read."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(folder.stat().st_mode & 0o666)


def _restore(previous: Path, out: Path) -> None:
    """Puts the old folder back where a run was cut off between taking it away and placing the new one."""
    if previous.exists() and not out.exists():
        previous.rename(out)


def _refuse_foreign(out: Path, kind: Kind) -> None:
    is_empty = not out.exists() or (out.is_dir() and not os.listdir(out))
    if is_empty or kind_of(out) == kind:
        return
    what = "holds something that this step did not make, and would replace"
    expected = f"nothing, an empty folder, or a folder of kind {kind} with its {MANIFEST}"
    fix = "name another --out, or move it away"
    raise DataError(Problem(str(out), what, expected, fix=fix, code="folders.not_ours"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
