"""The manifests of folders: what a folder holds, from what it was made; and the calibration of an adapter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from dialoguellm_release.schemas.base import Count, Kind, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.dataset import Knowledge, SpeakerNames
from dialoguellm_release.schemas.scores import PROBABILITY_METRICS, ScoreFigures, ScorerName


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


class Manifest(Schema):
    """What every manifest says."""

    kind: Kind
    version: Literal[1] = 1
    created_by: dict[str, str]  # versions of the packages that shaped the output
    recipe: RecipeStamp
    inputs: tuple[FileStamp, ...]  # the files that went in, each relative to its own source folder
    folders: dict[str, str] = {}  # content hash of each input folder, by what it was ("dataset", "adapter")
    # Hash of each bundled file that was read (corpus files, prompts, claims).
    resources: dict[str, Sha256] = {}
    rendered_with: dict[str, Sha256] = {}  # likewise for what is rendered from the manifest (card templates)
    settings: dict[str, JsonValue] = {}  # what was asked for beside the recipe
    outputs: tuple[FileStamp, ...]  # every file of the folder but the manifest itself
    content_sha256: Sha256  # hash of the content in canonical form, whatever wrote the files

    @property
    def work(self) -> str:
        """What would be lost with the folder, in a few words."""
        return f"one {self.kind}"


class BackboneManifest(Manifest):
    """The manifest of a backbone of our own making."""

    kind: Literal["backbone"] = "backbone"
    parameters: Count


LOSS_FIGURE = "figures/loss.png"
"""The loss curve of an adapter folder."""

CONFUSION_FIGURE = "figures/confusion.png"
RELIABILITY_FIGURE = "figures/reliability.png"
COVERAGE_FIGURE = "figures/coverage.png"
"""The figures of a score folder; not there without matplotlib, the last two without probabilities."""

TRAINING_LOG = "training_log.jsonl"
"""What was measured in training, one JSON object a line."""


class TrainedCorpus(Schema):
    """A corpus that a model was trained on, with the BCP 47 tags of its languages where they are known."""

    label_space: tuple[Label, ...]
    context_k: Count
    languages: tuple[Text, ...] = ()


class TrainedTask(Schema):
    """What a model was trained to do, so that it can be asked in the same way without the dataset."""

    corpora: dict[CorpusName, TrainedCorpus]
    speakers: SpeakerNames = "named"
    max_length: Count  # longest prompt and completion together, in tokens


class AdapterFigures(Schema):
    """The figures of a training run."""

    base: Text
    base_revision: Text | None  # the commit that was loaded from the Hub, pinned by the recipe or not
    base_content_sha256: Sha256 | None  # content of a backbone in a folder; None for one from the Hub
    base_is_folder: bool = False  # whether that is a folder of the user's, which no release holds
    base_gguf_file: Text | None = None  # the file whose weights were dequantised, to `base_dequantized_to`
    base_dequantized_to: Text | None = None
    dataset_config: Text
    dataset_content_sha256: Sha256
    # What was shown of the training records, whichever other corpora the dataset has.
    records_sha256: Sha256 | None = None
    prompt_sha256: Sha256
    knowledge: Knowledge = Knowledge()  # what its prompts show beside the input; scoring must show the same
    task: TrainedTask | None = None  # None in the manifest of an earlier version
    # Settings and weights of the folder that the training went on from; None where it started from scratch,
    # or from a commit on the Hub, which the recipe names.
    init_adapter_sha256: Sha256 | None = None
    records: Count
    truncated_records: Count  # records whose context or description was shortened to fit
    tokens: Count = 0  # of the training records, each counted once
    trainable_parameters: Count
    steps: Count
    first_loss: float  # mean loss over the first step; `last_loss` over the last logged steps
    last_loss: float
    validation_records: Count = 0
    # Of the weights that were kept, a mean over tokens; None without an evaluation.
    validation_loss: float | None = None
    seed: int

    @property
    def choices(self) -> tuple[CorpusName, ...]:
        """The corpora that a prediction must choose from; empty where there is nothing to choose."""
        tasks = self.task.corpora if self.task else {}
        distinct = {(one.label_space, one.context_k) for one in tasks.values()}
        return tuple(tasks) if len(distinct) > 1 else ()


Precision = Literal["bf16", "fp16", "float32"]


class TrainingRun(Schema):
    """What a training took on the machine where it ran: no part of any hash."""

    hardware: Text  # the accelerator, or the kind of processor
    devices: Count = 1
    precision: Precision | None = None  # in which the model computed; None in older manifests, as `steps`
    steps: Count | None = None  # that the figures below are of: fewer than all where the training was resumed
    seconds: float
    tokens_per_second: float  # tokens of the records, each record's counted in full
    # Tokens that passed through the model: fewer where packs share a prefix, more with padding.
    computed_tokens_per_second: float
    # Operations of the linear layers a second, as a share of the largest rate of a matrix product on the
    # same hardware, threads and precision.
    matmul_share: float | None = None


class AdapterManifest(Manifest):
    """The manifest of an adapter folder."""

    kind: Literal["adapter"] = "adapter"
    figures: AdapterFigures
    run: TrainingRun | None = None  # kept as it is where the same adapter is trained again in its place

    @property
    def work(self) -> str:
        """The steps of the training."""
        return f"an adapter of {self.figures.steps:,} steps"


class ScoreManifest(Manifest):
    """The manifest of a score folder."""

    kind: Literal["score"] = "score"
    figures: ScoreFigures

    @property
    def work(self) -> str:
        """The records that were scored."""
        return f"the scores of {self.figures.records:,} records"


class MergedFigures(Schema):
    """The figures of a merge."""

    adapter_content_sha256: Sha256
    base: Text
    base_revision: Text | None
    dtype: Text
    largest_difference: float  # between the logits of the merged model, read back, and of base with adapter
    largest_logit: float  # in size, to hold the difference against
    task: TrainedTask | None = None


class MergedManifest(Manifest):
    """The manifest of a model with an adapter in its weights."""

    kind: Literal["merged"] = "merged"
    figures: MergedFigures


class ExportFigures(Schema):
    """The figures of training text for another tool; `left_out` are settings that it has no key for."""

    tool: Text
    dataset_content_sha256: Sha256
    prompt_sha256: Sha256
    records: dict[Split, Count]
    left_out: tuple[Text, ...] = ()


class ExportManifest(Manifest):
    """The manifest of a folder with training text for another tool."""

    kind: Literal["export"] = "export"
    figures: ExportFigures


CALIBRATION = "calibration.json"
"""The file in an adapter folder. No manifest lists it, and it is no part of the adapter's content."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Between these the temperature is searched; outside, the records do not determine it."""


class CalibrationErrors(Schema):
    """How far probabilities are from what happened, titled as in `Calibration.errors`; 0 is perfect."""

    nll: Annotated[float, Field(ge=0)]
    ece: Annotated[float, Field(ge=0, le=1)]
    brier: Annotated[float, Field(ge=0, le=2)]


class Calibration(Schema):
    """The temperature of an adapter: its probabilities become softmax(log p / temperature)."""

    version: Literal[1] = 1
    temperature: Annotated[float, Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)]
    corpus: CorpusName
    split: Literal["validation"]
    label_space: tuple[Label, ...]
    scorer: ScorerName
    records: Annotated[int, Field(ge=1)]  # how many of the dataset the temperature was fitted on
    dataset_content_sha256: Sha256
    adapter_content_sha256: Sha256  # the adapter that gave the probabilities; it belongs to no other
    score_content_sha256: Sha256
    before: CalibrationErrors  # of these records as the model gives them; `after` with the temperature
    after: CalibrationErrors

    def fits(self, scorer: ScorerName, label_space: tuple[Label, ...]) -> bool:
        """Whether it is of probabilities that were read this way, over these labels."""
        return (self.scorer, self.label_space) == (scorer, label_space)

    def why_not(self, corpus: CorpusName, scorer: ScorerName, label_space: tuple[Label, ...]) -> str | None:
        """Why the probabilities of a score are not calibrated with it; None where they are."""
        if corpus == self.corpus and self.fits(scorer, label_space):
            return None
        what = f"with the scorer {self.scorer} over {len(self.label_space)} labels"
        return f"no calibration for {corpus}: that of the adapter is of {self.corpus}, {what}"

    @property
    def errors(self) -> list[tuple[str, float, float]]:
        """Each error by its title, before and after."""
        before, after = self.before, self.after
        return [
            ("Negative log-likelihood", before.nll, after.nll),
            (PROBABILITY_METRICS["ece"], before.ece, after.ece),
            (PROBABILITY_METRICS["brier"], before.brier, after.brier),
        ]
