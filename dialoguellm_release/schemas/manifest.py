"""`manifest.json`: what a folder holds, from what and by what it was made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue

from dialoguellm_release.schemas.audit import AuditFigures
from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.knowledge import Knowledge
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Split
from dialoguellm_release.schemas.scores import ScoreFigures

Kind = Literal["dataset", "backbone", "adapter", "score", "merged", "export"]


class FileStamp(Schema):
    """A file by its path relative to the folder that the manifest speaks of, its size and hash."""

    path: Annotated[str, Field(pattern=r"^[^/].*$")]
    bytes: Count
    sha256: Sha256


class RecipeStamp(Schema):
    """The recipe as it was resolved; `sha256` is over its canonical JSON."""

    name: Text
    sha256: Sha256
    resolved: dict[str, JsonValue]


class Sizes(Schema):
    """How much there is of a split."""

    dialogues: Count
    utterances: Count


class ExpectedSizes(Schema):
    """What a recipe expects of a split; `utterances` is None where a draw decides their number."""

    dialogues: Count
    utterances: Count | None

    def is_met_by(self, sizes: Sizes) -> bool:
        """Whether what was built is what was expected."""
        return self.dialogues == sizes.dialogues and self.utterances in (None, sizes.utterances)


class Reconciliation(Schema):
    """The counts of one corpus and split: the paper's, the public files', the expected and the built.

    None: the paper does not state it, the files have no such split, the recipe expects nothing.
    """

    corpus: CorpusName
    split: Split
    paper: Sizes | None
    public: Sizes | None
    expected: ExpectedSizes | None
    built: Sizes
    reason: Text | None

    @property
    def misses(self) -> bool:
        """Whether the recipe expects something else than what was built."""
        return self.expected is not None and not self.expected.is_met_by(self.built)


class PartSizes(Schema):
    """What became of the records of a split; held-out records are clean or leaked.

    Attributes:
        duplicates: Training records that say the same, with the same label, as one that is kept.
        conflicts: Training records whose label lost to another one in the same context.
    """

    clean: Count
    leaked: Count
    duplicates: Count
    conflicts: Count


class CorpusFigures(Schema):
    """What was read of one corpus and what was made of it.

    Attributes:
        license: Of the text, as every record carries it.
        may_redistribute: Whether the registry let the text be passed on when this was built.
        repairs: How often each named rule mended or dropped something.
        unused: Dialogues and utterances that the drawn split left over.
        splits: What was built.
        parts: How many records of each split are clean, and why the others are not; empty where nobody
            looked.
        labels: Records per label and split.
        content_sha256: Hash of the records of each split.
    """

    license: Text
    may_redistribute: bool
    label_space: tuple[Label, ...]
    files: tuple[FileStamp, ...]
    unknown_files: tuple[Text, ...]
    repairs: dict[str, Count]
    unused: Sizes
    splits: dict[Split, Sizes]
    parts: dict[Split, PartSizes] = {}
    labels: dict[Split, dict[Label, Count]]
    content_sha256: dict[Split, Sha256]


class Spread(Schema):
    """How a length is spread; a percentile is a length that occurs (nearest rank)."""

    mean: float
    minimum: Count
    p5: Count
    p25: Count
    median: Count
    p75: Count
    p95: Count
    maximum: Count

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Self:
        """Of one length or more.

        >>> Spread.of([5, 1, 2, 2]).median
        2
        """
        ordered = sorted(lengths)

        def percentile(share: int) -> int:
            return ordered[-(-share * len(ordered) // 100) - 1]

        return cls(
            mean=sum(ordered) / len(ordered),
            minimum=ordered[0],
            p5=percentile(5),
            p25=percentile(25),
            median=percentile(50),
            p75=percentile(75),
            p95=percentile(95),
            maximum=ordered[-1],
        )


class SplitStatistics(Schema):
    """Lengths and gaps of one corpus and split.

    Attributes:
        dialogue_lengths: Utterances per dialogue.
        utterance_lengths: Words per utterance; a word is what stands between white space and has a letter
            or a digit.
        records_after_gap: Records that are not numbered as the next after the one before in their dialogue.
        missing_turns: How many numbers are left out there.
    """

    dialogue_lengths: Spread
    utterance_lengths: Spread
    records_after_gap: Count
    missing_turns: Count


COUNT_FIGURES: tuple[str, ...] = (
    "figures/corpora.png",
    "figures/emotions.png",
    "figures/dialogue_lengths.png",
    "figures/utterance_lengths.png",
    "figures/label_spaces.png",
)
"""The figures of counts in a dataset folder."""

AGREEMENT_FIGURE = "figures/agreement.png"
"""The heat map of label agreement; not there where no two corpora have an utterance in common."""

FIGURE_FILES: tuple[str, ...] = (*COUNT_FIGURES, AGREEMENT_FIGURE)
"""The figures of a dataset folder; they show counts only, never text."""

CROISSANT = "croissant.json"
"""The Croissant metadata of a dataset folder."""

AUDIT = "audit.json"
"""The audit of a dataset folder, with the ids of what repeats or contradicts itself."""

LICENSES = "LICENSES.md"
"""What may be done with which part of a dataset folder."""


class VideoProvenance(Schema):
    """Where the video descriptions of a dataset are from.

    Attributes:
        recipe: Name of the video recipe; its model and prompt were asked.
        model_versions: The versions that answered, as the server names them, with the records they described.
        prompt_sha256: Hash of everything that the model was told.
        content_sha256: Hash of the descriptions, whether or not their records are in this build.
        refused: Records that the model would not describe.
        records: Described records of this build, per corpus and split.
        shuffle_seed: Where each description was given to another record of its corpus and split; else None.
    """

    recipe: Text
    recipe_sha256: Sha256
    model: Text
    model_versions: dict[str, Count]
    prompt: Text
    prompt_sha256: Sha256
    content_sha256: Sha256
    refused: Count
    records: dict[CorpusName, dict[Split, Count]] = {}
    shuffle_seed: int | None = None


class DatasetFigures(Schema):
    """The figures of a dataset build.

    Attributes:
        audit: What splits have in common and what contradicts itself; None where nobody looked.
        video: None where no video folder was given.
        statistics: Lengths and gaps per corpus and split; empty where nobody counted them.
    """

    records: dict[Split, Count]
    dialogues: dict[Split, Count]
    corpora: dict[CorpusName, CorpusFigures]
    skipped: tuple[CorpusName, ...]
    context_k: Count
    prompt: Text
    prompt_sha256: Sha256
    split_draw: dict[str, JsonValue] | None
    relabelled: dict[str, Count]
    reconciliation: tuple[Reconciliation, ...]
    audit: AuditFigures | None = None
    statistics: dict[CorpusName, dict[Split, SplitStatistics]] = {}
    video: VideoProvenance | None = None

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
        return {label: sum(count.get(label, 0) for count in counts) for label in LABELS if label in spaces}


class Manifest(Schema):
    """What every manifest says.

    Attributes:
        version: Of the manifest's format.
        created_by: Versions of the packages that shaped the output.
        inputs: The files that went in, each relative to its own source folder.
        outputs: Every file of the folder but the manifest itself.
        content_sha256: Hash of the content in canonical form, whatever wrote the files.
    """

    kind: Kind
    version: Literal[1] = 1
    created_by: dict[str, str]
    recipe: RecipeStamp
    inputs: tuple[FileStamp, ...]
    outputs: tuple[FileStamp, ...]
    content_sha256: Sha256


class PublishedSubset(Schema):
    """What a published copy holds of a dataset; `figures` still tell of the whole build.

    Attributes:
        left_out: Corpora of which nothing is in the copy.
        standoff: Corpora of which the copy holds ids, labels and positions, but no text.
        records: How many records with text there are.
        dialogues: Of them, how many dialogues.
        published_sha256: Hash of these records, made as `content_sha256` is of the build's.
    """

    left_out: tuple[CorpusName, ...]
    standoff: tuple[CorpusName, ...] = ()
    records: dict[Split, Count]
    dialogues: dict[Split, Count]
    published_sha256: Sha256


class DatasetManifest(Manifest):
    """The manifest of a dataset folder.

    Attributes:
        published: None in the maintainer's own copy.
    """

    kind: Literal["dataset"] = "dataset"
    figures: DatasetFigures
    published: PublishedSubset | None = None


class BackboneManifest(Manifest):
    """The manifest of a backbone of our own making."""

    kind: Literal["backbone"] = "backbone"
    parameters: Count


LOSS_FIGURE = "figures/loss.png"
"""The loss curve of an adapter folder."""

TRAINING_LOG = "training_log.jsonl"
"""What was measured in training, one JSON object a line."""


class AdapterFigures(Schema):
    """The figures of a training run.

    Attributes:
        base_content_sha256: Content of a backbone of our own making; None for one from the Hub.
        dataset_content_sha256: The dataset that it was trained on.
        knowledge: What its prompts show beside the input; scoring must show the same.
        truncated_records: Records whose context or description was shortened to fit.
        tokens: Of the training records, each counted once.
        first_loss: Mean loss over the first step; `last_loss` over the last logged steps.
        validation_records: Records of the validation split that were looked at.
        validation_loss: Of the weights that were kept, a mean over tokens; None where nobody looked.
    """

    base: Text
    base_revision: Text | None
    base_content_sha256: Sha256 | None
    dataset_config: Text
    dataset_content_sha256: Sha256
    prompt_sha256: Sha256
    knowledge: Knowledge = Knowledge()
    records: Count
    truncated_records: Count
    tokens: Count = 0
    trainable_parameters: Count
    steps: Count
    first_loss: float
    last_loss: float
    validation_records: Count = 0
    validation_loss: float | None = None
    seed: int


Precision = Literal["bf16", "fp16", "float32"]


class TrainingRun(Schema):
    """What a training took on the machine where it ran: no part of any hash.

    Attributes:
        hardware: The accelerator, or the kind of processor.
        devices: Processes that trained together.
        precision: In which the model computed; None in older manifests, as `steps`.
        steps: That the figures below are of: fewer than all where the training was resumed.
        seconds: Spent on these steps.
        tokens_per_second: Tokens of the records, each record's counted in full.
        computed_tokens_per_second: Tokens that passed through the model: fewer where packs share a prefix,
            more with padding.
    """

    hardware: Text
    devices: Count = 1
    precision: Precision | None = None
    steps: Count | None = None
    seconds: float
    tokens_per_second: float
    computed_tokens_per_second: float


class AdapterManifest(Manifest):
    """The manifest of an adapter folder.

    Attributes:
        run: Kept as it is where the same adapter is trained again in its place.
    """

    kind: Literal["adapter"] = "adapter"
    figures: AdapterFigures
    run: TrainingRun | None = None


class MergedFigures(Schema):
    """The figures of a merge.

    Attributes:
        adapter_content_sha256: The adapter that went into the weights.
        base: The backbone that it went into.
        dtype: Of the weights.
        largest_difference: Between the logits of the merged model, read back, and of base with adapter.
        largest_logit: In size, to hold the difference against.
    """

    adapter_content_sha256: Sha256
    base: Text
    base_revision: Text | None
    dtype: Text
    largest_difference: float
    largest_logit: float


class MergedManifest(Manifest):
    """The manifest of a model with an adapter in its weights."""

    kind: Literal["merged"] = "merged"
    figures: MergedFigures


class ExportFigures(Schema):
    """The figures of training text for another tool."""

    tool: Text
    dataset_content_sha256: Sha256
    prompt_sha256: Sha256
    records: dict[Split, Count]


class ExportManifest(Manifest):
    """The manifest of a folder with training text for another tool."""

    kind: Literal["export"] = "export"
    figures: ExportFigures


class ScoreManifest(Manifest):
    """The manifest of a score folder."""

    kind: Literal["score"] = "score"
    figures: ScoreFigures
