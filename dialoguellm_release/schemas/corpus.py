"""The registry entry of a corpus: its files, licence, labels and known repairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Commit, Count, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split


class KnownFile(Schema):
    """A public file by its hash.

    Attributes:
        split: The split that it holds; None where it holds several or none.
    """

    path: Text
    bytes: Count
    sha256: Sha256
    split: Split | None = None


class CorpusLicense(Schema):
    """The licence of a corpus's text.

    Attributes:
        id: SPDX id, or a `LicenseRef-` of our own where there is none.
        stated_in: Where the licence is stated.
        may_redistribute: Whether it lets the text be passed on.
    """

    id: Text
    name: Text
    stated_in: Text
    may_redistribute: bool


class Download(Schema):
    """A file that a server gives, or an archive that holds files of the corpus.

    Attributes:
        path: Where the file belongs in the folder of the corpus; of an archive, its name.
        addresses: The official one, then its mirrors; tried in this order.
        verified: Whether these bytes were had from the first address when this entry was written.
        git_blob: The id that git gives the content, where no sha256 of it is among `files`.
        members: Of an archive, for each file the names that it may have there; `a.zip/b` is b in a.zip.
    """

    path: Text
    addresses: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://\S+$")], ...], Field(min_length=1)]
    verified: bool
    git_blob: Commit | None = None
    members: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = {}

    @property
    def targets(self) -> tuple[str, ...]:
        """The files that it brings, by their paths in the folder of the corpus."""
        return tuple(self.members) or (self.path,)


class Request(Schema):
    """How to come by a corpus that no server gives.

    Attributes:
        whom: Who can give it.
        what: What to ask for, and how.
    """

    whom: Text
    what: Text


class CorpusEntry(Schema):
    """What is known of a corpus before a file of it is opened.

    Attributes:
        label_space: The labels that its instruction shows, in that order.
        label_map: Every native label, as the corpus spells it, to its canonical one.
        spellings: Misspelt native labels to the ones meant; each use is counted.
        dropped_labels: Native labels that cannot be used, with the reason; each drop is counted.
        landmarks: Further paths by which a folder of the corpus is recognised.
        files: Known public files; one whose hash differs is read with a warning.
        downloads: What `corpora fetch` brings; none where the corpus has to be asked for.
        request: How to ask; None where it can be fetched.
    """

    version: Literal[1]
    kind: Literal["corpus"]
    name: CorpusName
    title: Text
    homepage: Text
    citation: Text
    license: CorpusLicense
    label_space: tuple[Label, ...]
    label_map: dict[str, Label]
    spellings: dict[str, str] = {}
    dropped_labels: dict[str, Text] = {}
    landmarks: tuple[Text, ...] = ()
    files: tuple[KnownFile, ...] = ()
    downloads: tuple[Download, ...] = ()
    request: Request | None = None

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        outside = sorted(set(self.label_map.values()) - set(self.label_space))
        if outside:
            raise ValueError(f"label_map leads outside label_space: {', '.join(outside)}")
        unknown = sorted(set(self.spellings.values()) - set(self.label_map))
        if unknown:
            raise ValueError(f"spellings lead to labels not in label_map: {', '.join(unknown)}")
        both = sorted(set(self.dropped_labels) & set(self.label_map))
        if both:
            raise ValueError(f"dropped_labels and label_map both have {', '.join(both)}")
        return self

    @model_validator(mode="after")
    def _can_be_had_one_way(self) -> Self:
        if bool(self.downloads) == (self.request is not None):
            raise ValueError("state downloads, or how to request the corpus; not both")
        known = {file.path for file in self.files}
        by_git = {download.path for download in self.downloads if download.git_blob}
        targets = {path for download in self.downloads for path in download.targets}
        if unknown := sorted(targets - known - by_git):
            raise ValueError(f"downloads of which no hash is known: {', '.join(unknown)}")
        return self
