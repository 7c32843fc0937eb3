"""A score: its recipe, its protocol, its system, its figures and their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Count, Fraction, Positive, Recipe, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split

METRIC_MODULE = "erc_scores"
"""The metric below `metrics/` whose functions compute them all."""

MetricName = Literal["accuracy", "weighted_f1", "macro_f1", "micro_f1", "micro_f1_without", "invalid"]


@dataclass(frozen=True)
class Metric:
    """A metric: a function of its name in `metrics/erc_scores/functions.py`, and what it is called."""

    title: str  # for reports; `{without}` is the label that it leaves out
    hub_id: str | None = None  # the metric on the Hub; None where the Hub has none
    hub_arguments: dict[str, str] | None = None


METRICS: dict[MetricName, Metric] = {
    "accuracy": Metric("Accuracy", "accuracy"),
    "weighted_f1": Metric("Weighted F1", "f1", {"average": "weighted"}),
    "macro_f1": Metric("Macro F1", "f1", {"average": "macro"}),
    "micro_f1": Metric("Micro F1", "f1", {"average": "micro"}),
    "micro_f1_without": Metric("Micro F1 without {without}"),
    "invalid": Metric("Invalid answers"),
}
"""Every metric, in the order of reports. A new one needs its name here and above, and its function."""

ScorerName = Literal[
    "first_token",
    "full_likelihood",
    "full_likelihood_per_token",
    "constrained_generation",
    "free_generation",
    "authors_parser",
]
"""How the answer of a model is read: see `docs/scores.md`."""

BaselineName = Literal["majority", "random", "tfidf", "tfidf-context"]

ServerApi = Literal["chat", "completions"]
"""How a served model is asked."""

FewShotRule = Literal["balanced", "nearest"]
"""How examples are chosen: see `FewShot` in the score recipe."""

LeakPolicy = Literal["not audited", "trained on another dataset", "removed from training", "kept in training"]

Resamples = Annotated[int, Field(ge=20)]
Interval = tuple[float, float]
"""The lower and the upper end."""


SelectedOn = Split | Literal["none"]


class Protocol(Schema):
    """What two scores must have in common to be compared.

    None where the system does not have it, as a majority label has no prompt; it differs from nothing.
    """

    corpus: CorpusName
    split: Split
    dataset_content_sha256: Sha256
    records_sha256: Sha256  # ids and references of the records that were scored
    label_space: tuple[Label, ...]
    context_k: Count | None  # how many utterances before the one to label are shown, at most
    context_direction: Literal["past"] | None
    prompt_sha256: Sha256 | None
    scorer: ScorerName | None
    shots: Count | None = None
    few_shot_rule: FewShotRule | None = None
    few_shot_ids: tuple[Text, ...] | None  # records that prompts show as examples; empty for none
    few_shot_sha256: Sha256 | None = None  # which record is shown which examples, in which order
    # The split on which the checkpoint was chosen; `none` where it is the last one; None where no training
    # is known. Settings that were chosen by hand are in no manifest, and not here.
    selected_on: SelectedOn | None
    # What became of training records that share text with held-out ones; None where nothing was trained.
    leak_policy: LeakPolicy | None

    def differences(self, other: Protocol) -> dict[str, tuple[object, object]]:
        """The fields in which two protocols differ, with both values; None on a side is like anything."""
        both = {name: (value, getattr(other, name)) for name, value in self}
        return {
            name: (ours, theirs)
            for name, (ours, theirs) in both.items()
            if ours != theirs and ours is not None and theirs is not None
        }


class System(Schema):
    """The system that was scored."""

    name: Text  # of the adapter's, the backbone's or the baseline's recipe, or of the file of predictions
    kind: Literal["model", "baseline", "predictions"]
    base: Text | None = None
    base_revision: Text | None = None
    base_content_sha256: Sha256 | None = None  # content of a backbone in a folder; None for one from the Hub
    base_gguf_file: Text | None = None  # the file whose weights were dequantised
    adapter_content_sha256: Sha256 | None = None  # None where the backbone was scored alone
    # Hash of everything that shaped the training but its seed: systems that share it are seeds of one. None
    # where nothing was trained.
    training_sha256: Sha256 | None = None
    seed: int | None = None
    server_api: ServerApi | None = None


class ServedFigures(Schema):
    """How the answers of a server could be read."""

    # Mean probability of all labels together among the first tokens; None where text is read.
    label_mass: Fraction | None = None
    # Share of the records without a label among the likeliest first tokens; None likewise.
    without_label: Fraction | None = None
    invalid: dict[Text, Count] = {}

    @property
    def warnings(self) -> list[str]:
        """What a reader must know: invalid answers, and labels that are unlikely as a first token."""
        found = [f"{count:,} answers are invalid: {reason}" for reason, count in self.invalid.items()]
        if any(reason.startswith("cut off while reasoning") for reason in self.invalid):
            found.append("the model needs more tokens than it may write: raise max_new_tokens")
        if self.label_mass is not None and self.label_mass < 0.5:
            found.append(f"the labels have only {100 * self.label_mass:.1f} % of the first tokens")
        return found


class Resampling(Schema):
    """How intervals are computed: the bootstrap over dialogues.

    Attributes:
        level: The share of the resamples that an interval spans.
    """

    resamples: Resamples = 10_000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = 2310


class Part(Schema):
    """The figures of some of the records: fractions, with intervals by the bootstrap over dialogues."""

    records: Count
    dialogues: Count
    metrics: dict[MetricName, float]
    intervals: dict[MetricName, Interval]


class LabelFigures(Schema):
    """The figures of one label; expected values where answers are drawn at random."""

    precision: Fraction
    recall: Fraction
    f1: Fraction
    references: Count
    predictions: Annotated[float, Field(ge=0)]


ProbabilityMetric = Literal["ece", "brier", "aurc"]

PROBABILITY_METRICS: dict[ProbabilityMetric, str] = {
    "ece": "Expected calibration error",
    "brier": "Brier score",
    "aurc": "Area under the risk-coverage curve",
}
"""How each is called in reports; 0 is perfect."""


class ReliabilityBin(Schema):
    """The answers whose probability is within one bin: its mean, and the share that is right."""

    records: Count
    confidence: Fraction
    accuracy: Fraction


class ProbabilityFigures(Schema):
    """How far the probabilities of some records are from what happens."""

    metrics: dict[ProbabilityMetric, float]
    intervals: dict[ProbabilityMetric, Interval]
    bins: tuple[ReliabilityBin, ...]
    # The share of wrong answers among the surest 5 % of the records, 10 % and so on to 100 %.
    risk: tuple[Fraction, ...]


class SelectedPart(Part):
    """The records whose answers are the surest; those of the same probability are all in or all out."""

    coverage: Fraction
    min_probability: Fraction


class Probabilities(Schema):
    """The probabilities of the labels: whether they mean what they say, and what selecting by them gains."""

    # Of the adapter's calibration; None for the probabilities as the system gives them.
    temperature: float | None = None
    all: ProbabilityFigures
    clean: ProbabilityFigures | None  # None where it is unknown which records are clean
    selected: tuple[SelectedPart, ...]


class ScoreFigures(Part):
    """The figures of a scoring run; metrics are fractions."""

    protocol: Protocol
    system: System
    split_records: Count | None = None
    truncated_records: Count  # records whose context or description was shortened to fit
    headline: MetricName
    without: Label | None  # the label that `micro_f1_without` leaves out; None where the label space lacks it
    resampling: Resampling
    # Records whose label the system draws at random; every metric is its expected value.
    left_to_chance: Count
    chances: dict[Label, Fraction]  # the probability of each label in such a draw
    # The metrics of the answer that is always the commonest reference, `majority_label`.
    majority: dict[MetricName, float]
    majority_label: Label
    # Of the records that share no text with a training split; None for a dataset without an audit.
    clean: Part | None
    per_label: dict[Label, LabelFigures]
    # Rows are references, columns predictions, in that order; the last column counts the invalid ones.
    confusion_matrix: tuple[tuple[float, ...], ...]
    # Parts of the records, by what divides them and by the value of it.
    breakdown: dict[Text, dict[Text, Part]]
    probabilities: Probabilities | None = None  # as the system gives them; None where an answer has none
    # With the temperature of the adapter's calibration; None where it has none for this corpus, scorer and
    # label space.
    calibrated: Probabilities | None = None
    # Why an adapter that has a calibration has none for this score; None where it has one, or none at all.
    uncalibrated: Text | None = None
    without_probabilities: Count = 0  # answers that have none, though others have
    served: ServedFigures | None = None

    @property
    def is_partial(self) -> bool:
        """Whether records of the split were left out."""
        return self.split_records is not None and self.records < self.split_records

    @property
    def only_answer(self) -> str | None:
        """The answer to every record where all have the same, `invalid` where none names a label."""
        if self.left_to_chance or self.records < 2:
            return None
        if self.metrics.get("invalid") == 1:
            return "invalid"
        given = [label for label, one in self.per_label.items() if one.predictions]
        return given[0] if len(given) == 1 and self.per_label[given[0]].predictions == self.records else None

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before any figure."""
        found = []
        if self.is_partial:
            found.append(f"only {self.records:,} of {self.split_records:,} records of the split were scored")
        if self.only_answer is not None and self.system.kind != "baseline":
            found.append(f"every answer is {self.only_answer}: the figures are those of a constant answer")
        if self.truncated_records:
            found.append(f"{self.truncated_records:,} prompts were shortened to fit max_length")
        if self.without_probabilities:
            found.append(f"{self.without_probabilities:,} answers have no probabilities: none were measured")
        if self.uncalibrated:
            found.append(self.uncalibrated)
        return [*found, *(self.served.warnings if self.served else ())]


class FewShot(Schema):
    """Examples in the prompt, from the training split alone.

    Attributes:
        choose: `balanced` shows every record the same ones, as many of each label as possible, drawn by the
            seed; `nearest` shows each record those with the highest cosine of TF-IDF, the nearest last.
        seed: Of the draw; `nearest` has no use for it.
    """

    shots: Positive
    choose: FewShotRule = "balanced"
    seed: int = 2310


class ScoreRecipe(Recipe):
    """A scoring run.

    Attributes:
        headline: The metric by which the corpus is usually compared.
        without: The label that `micro_f1_without` leaves out.
        scorer: How the answer of a model is read; `auto` is `first_token` where no two labels share their
            first token, else `full_likelihood`. Baselines ignore it.
        max_length: Longest prompt in tokens; context is shortened to it as in training.
        max_new_tokens: Longest generated answer in tokens, where the scorer generates freely.
        max_records: Only the first so many records; None for all.
        few_shot: Examples in the prompt of a model; None for none. Baselines ignore them.
    """

    kind: Literal["score"]
    corpus: CorpusName
    split: Split
    headline: MetricName = "weighted_f1"
    without: Label = "neutral"
    scorer: Literal["auto"] | ScorerName = "auto"
    max_length: Positive
    batch_size: Positive
    max_new_tokens: Positive = 16
    max_records: Positive | None = None
    few_shot: FewShot | None = None
    intervals: Resampling = Resampling()

    @model_validator(mode="after")
    def _examples_are_not_scored(self) -> Self:
        if self.few_shot is not None and self.split == "train":
            raise ValueError("few_shot draws from the training split, which is what is scored")
        return self
