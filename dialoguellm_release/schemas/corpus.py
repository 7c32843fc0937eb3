"""The registry entry of a corpus: its files, licence, labels and known repairs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
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


class CorpusEntry(Schema):
    """What is known of a corpus before a file of it is opened.

    Attributes:
        label_space: The labels that its instruction shows, in that order.
        label_map: Every native label, as the corpus spells it, to its canonical one.
        spellings: Misspelt native labels to the ones meant; each use is counted.
        dropped_labels: Native labels that cannot be used, with the reason; each drop is counted.
        landmarks: Further paths by which a folder of the corpus is recognised.
        files: Known public files; one whose hash differs is read with a warning.
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
