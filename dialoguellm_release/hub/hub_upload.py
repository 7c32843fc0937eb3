"""Files on their way to the Hub: hashed already, counted as they are sent, sent once."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import BinaryIO, cast

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from dialoguellm_release.hub.contents import PlannedFile
from dialoguellm_release.hub.git import BRANCH
from dialoguellm_release.hub.targets import Advance
from dialoguellm_release.schemas.release import RepoType


class Uploads:
    """The files of one repository; what was sent before the commit is not sent again by it."""

    def __init__(self, api: HfApi, repo_type: RepoType, repo_id: str) -> None:
        self._api, self._type, self._id = api, repo_type, repo_id
        self._sent: dict[str, tuple[PlannedFile, CommitOperationAdd]] = {}

    def send(self, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Brings the content of files that the Hub keeps in large-file storage.

        Args:
            advance: Told of the bytes of each file, of those in the commit too.
        """
        counts = {path: _Count(advance) for path in files}
        self._sent |= {path: (file, _operation(path, file, counts[path])) for path, file in files.items()}
        with _bars(shown=uses_xet() and sys.stderr.isatty()):
            self._api.preupload_lfs_files(
                self._id,
                [self._sent[path][1] for path in files],
                repo_type=self._type,
                revision=BRANCH,
            )
        for path, file in files.items():
            counts[path].reach(file.size)

    def operations(
        self, files: Mapping[str, PlannedFile], deletions: Sequence[str]
    ) -> list[CommitOperationAdd | CommitOperationDelete]:
        """What a commit does; a file that was not sent yet is sent by the commit."""
        return [
            *(self._operation_for(path, file) for path, file in files.items()),
            *(CommitOperationDelete(path, is_folder=False) for path in deletions),
        ]

    def _operation_for(self, path: str, file: PlannedFile) -> CommitOperationAdd:
        sent = self._sent.get(path)
        return sent[1] if sent and sent[0] == file else _operation(path, file, _Count(lambda _bytes: None))


class _Count:
    """The furthest byte of a file that was sent; a file that is sent again adds nothing."""

    def __init__(self, advance: Advance) -> None:
        self._advance, self._reached = advance, 0

    def reach(self, position: int) -> None:
        if position > self._reached:
            self._advance(position - self._reached)
            self._reached = position


class _CountedFile(io.BufferedReader):
    """A file that says how far it was read."""

    def __init__(self, path: str, count: _Count) -> None:
        super().__init__(io.FileIO(path))
        self._count = count

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self._count.reach(self.tell())
        return part


class _CountedAdd(CommitOperationAdd):
    """An addition that counts what `huggingface_hub` would show a bar of its own for."""

    count: _Count

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[BinaryIO]:
        if with_tqdm and isinstance(self.path_or_fileobj, str):
            with _CountedFile(self.path_or_fileobj, self.count) as opened:
                yield cast("BinaryIO", opened)
        else:
            with super().as_file() as opened_quietly:
                yield opened_quietly


def _operation(path: str, file: PlannedFile, count: _Count) -> CommitOperationAdd:
    """The addition of a file whose hash is known.

    Why Xet hashes again: it does so while it reads, so that the hash is that of what was sent.
    """
    operation = _CountedAdd(path, file.content)
    operation.count = count
    if not uses_xet():
        operation.upload_info.sha256 = bytes.fromhex(file.sha256)
    return operation


def uses_xet() -> bool:
    """Whether `huggingface_hub` uploads by Xet, and not by LFS."""
    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


@contextmanager
def _bars(*, shown: bool) -> Iterator[None]:
    """Shows or hides the progress bars of `huggingface_hub`."""
    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
