"""The manifest of a dataset folder: what was read of each corpus, and what was made of it."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from dialoguellm_release.schemas.audit import AuditFigures, PartSizes, Reconciliation, Sizes, SplitStatistics
from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Split
from dialoguellm_release.schemas.manifests import FileStamp, Manifest


class CorpusFigures(Schema):
    """What was read of one corpus and what was made of it."""

    license: Text  # of the text, as every record carries it
    may_redistribute: bool  # whether the registry let the text be passed on when this was built
    label_space: tuple[Label, ...]
    context_k: Count | None = None  # of its records alone; None is that of the dataset
    files: tuple[FileStamp, ...]
    unknown_files: tuple[Text, ...]
    repairs: dict[str, Count]  # how often each named rule mended or dropped something
    unused: Sizes  # what the drawn split left over
    splits: dict[Split, Sizes]
    # Utterances without a label, of which there is no record, but which contexts may show.
    context_only: dict[Split, Count] = {}
    # How many records of each split are clean, and why the others are not; empty without an audit.
    parts: dict[Split, PartSizes] = {}
    labels: dict[Split, dict[Label, Count]]
    content_sha256: dict[Split, Sha256]


class VideoProvenance(Schema):
    """Where the video descriptions of a dataset are from."""

    recipe: Text
    recipe_sha256: Sha256
    model: Text
    # The versions that answered, as the server names them, with the records they described.
    model_versions: dict[str, Count]
    prompt: Text
    prompt_sha256: Sha256
    content_sha256: Sha256  # hash of the descriptions, whether or not their records are in this build
    refused: Count
    records: dict[CorpusName, dict[Split, Count]] = {}
    # Where each description was given to another record of its corpus and split; else None.
    shuffle_seed: int | None = None


class DatasetFigures(Schema):
    """The figures of a dataset build."""

    records: dict[Split, Count]
    dialogues: dict[Split, Count]
    corpora: dict[CorpusName, CorpusFigures]
    skipped: tuple[CorpusName, ...]
    class_labels: tuple[Label, ...] = LABELS  # names of the ClassLabel `label`, in the order of their ids
    context_k: Count
    prompt: Text
    prompt_sha256: Sha256
    # How the splits of each corpus without splits of its own came about.
    split_draws: dict[CorpusName, dict[str, JsonValue]] = {}
    relabelled: dict[str, Count]
    reconciliation: tuple[Reconciliation, ...]
    audit: AuditFigures | None = None
    statistics: dict[CorpusName, dict[Split, SplitStatistics]] = {}  # empty where they were not counted
    video: VideoProvenance | None = None

    def context_of(self, corpus: CorpusName) -> int:
        """How many past utterances the records of a corpus show."""
        stated = self.corpora[corpus].context_k
        return self.context_k if stated is None else stated

    @property
    def training_dialogues(self) -> dict[CorpusName, int]:
        """Training dialogues per corpus."""
        return {
            name: corpus.splits["train"].dialogues
            for name, corpus in self.corpora.items()
            if "train" in corpus.splits
        }

    @property
    def training_labels(self) -> dict[Label, int]:
        """Training records per label of any label space, over all corpora, in the order of the vocabulary."""
        spaces = {label for corpus in self.corpora.values() for label in corpus.label_space}
        counts = [corpus.labels.get("train", {}) for corpus in self.corpora.values()]
        return {
            label: sum(count.get(label, 0) for count in counts)
            for label in self.class_labels
            if label in spaces
        }


class PublishedSubset(Schema):
    """What a published copy holds of a dataset; `figures` are those of the whole build."""

    left_out: tuple[CorpusName, ...]  # corpora of which nothing is in the copy
    # Corpora of which the copy holds ids, labels and positions, but no text.
    standoff: tuple[CorpusName, ...] = ()
    records: dict[Split, Count]  # how many with text there are
    dialogues: dict[Split, Count]
    published_sha256: Sha256  # hash of these records, made as `content_sha256` is of the build's


class DatasetManifest(Manifest):
    """The manifest of a dataset folder."""

    kind: Literal["dataset"] = "dataset"
    figures: DatasetFigures
    published: PublishedSubset | None = None  # None in the maintainer's own copy

    @property
    def request(self) -> str:
        """What was asked for: the recipe, and the corpora that were skipped."""
        skipped = f" without {', '.join(sorted(self.figures.skipped))}" if self.figures.skipped else ""
        return f"{self.recipe.name}{skipped}"

    @property
    def work(self) -> str:
        """The records that were built."""
        return f"a dataset of {sum(self.figures.records.values()):,} records"
