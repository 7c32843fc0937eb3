"""The registry entry of a corpus: its files, licence, labels and known repairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

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


Answer = Literal["yes", "no", "unknown"]
"""What a licence says to a question; `unknown`, where nobody could tell, is never taken for a yes."""

Distribution = Literal["exclude", "standoff", "full"]
"""What leaves of a corpus: nothing; ids, labels and positions without text; everything."""

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
"""From the least to the most."""


class CorpusLicense(Schema):
    """The licence of a corpus's text, or of its labels.

    Attributes:
        id: SPDX id, or a `LicenseRef-` of our own where there is none.
        stated_in: Where the licence is stated.
        verified: Whether it was looked up there when this entry was written; else it is only told of.
        redistribute: Whether it may be passed on.
        share_alike: Whether what is made of it has to go under the same licence.
        non_commercial: Whether commercial use is left out.
        research_only: Whether any use but research is left out.
        signed_form: Whether a form has to be signed before it is had.
        note: What else has to be known.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]+$")]
    name: Text
    stated_in: Text
    verified: bool
    redistribute: Answer
    share_alike: Answer
    non_commercial: Answer
    research_only: Answer
    signed_form: Answer
    note: Text | None = None


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
        description: What its texts are, as cards say it.
        text_license: What holds for the utterances.
        label_license: What holds for the labels alone, without the text.
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
    description: Text
    homepage: Text
    citation: Text
    text_license: CorpusLicense
    label_license: CorpusLicense
    label_space: tuple[Label, ...]
    label_map: dict[str, Label]
    spellings: dict[str, str] = {}
    dropped_labels: dict[str, Text] = {}
    landmarks: tuple[Text, ...] = ()
    files: tuple[KnownFile, ...] = ()
    downloads: tuple[Download, ...] = ()
    request: Request | None = None

    @property
    def allowed(self) -> Distribution:
        """The most of it that may leave, by its licences."""
        if self.label_license.redistribute != "yes":
            return "exclude"
        return "full" if self.text_license.redistribute == "yes" else "standoff"

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
