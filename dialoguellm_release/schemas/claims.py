"""The claims of a paper as data: its figures, where it prints them, and how each can be tested."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, model_validator

from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.base import Count, Kind, Recipe, Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split

Relation = Literal["equal", "at least"]
PaperMetric = Literal["accuracy", "weighted_f1"]
Percent = Annotated[float, Field(ge=0, le=100)]
Tolerance = Annotated[float, Field(ge=0)]
PRINTED = 0.005
"""Half of the last digit of a figure that is printed with two decimals."""


class Evidence(Schema):
    """Manifests that a claim may be tested on.

    Attributes:
        where: For paths into a manifest (`recipe.resolved.synthetic`) the accepted values.
        missing: What to make where there is no such manifest.
    """

    kind: Kind
    where: dict[Text, tuple[JsonValue, ...]] = {}
    missing: Text


class ManifestTest(Schema):
    """A figure of a manifest.

    Attributes:
        evidence: Name of an entry of `evidence`.
        figures: Paths into the manifest; `*` in a path sums over all keys, a list counts as its length.
    """

    type: Literal["manifest"] = "manifest"
    evidence: Text
    figures: tuple[Text, ...]
    combine: Literal["sum", "product"] = "sum"
    relation: Relation = "equal"
    tolerance: Tolerance = 0.0


class TrainingTotalTest(Schema):
    """Training dialogues or utterances of a dataset; of a corpus that it lacks, the paper's count."""

    type: Literal["training_total"] = "training_total"
    evidence: Text
    of: Literal["dialogues", "utterances"]
    relation: Relation = "equal"


class LabelShareTest(Schema):
    """The share of a label in the training records, in percent.

    A corpus that the dataset lacks leaves a range of possible shares, by the paper's count of it.
    """

    type: Literal["label_share"] = "label_share"
    evidence: Text
    label: Label
    tolerance: Tolerance


class ScoredSystem(Schema):
    """How scores of a row of a table are recognised.

    Attributes:
        names: Names of the system in scores; `CORPUS` in one stands for the corpus that is scored.
    """

    kind: Literal["model", "predictions"]
    names: tuple[Text, ...]
    is_tuned: bool = False


class ScoreTest(Schema):
    """A metric of one system on the test split of a corpus, in percent; the mean over its seeds."""

    type: Literal["score"] = "score"
    system: ScoredSystem
    corpus: CorpusName
    metric: PaperMetric
    tolerance: Tolerance


class PaperTest(Schema):
    """A figure that follows from others of the paper.

    Attributes:
        compute: `margin` is the first less the largest of the others, `difference` the first less the rest.
        of: Ids of claims; those that a pattern with `*` matches are summed, except for `margin`, where each
            counts alone.
    """

    type: Literal["paper"] = "paper"
    compute: Literal["same", "sum", "mean", "product", "difference", "margin"]
    of: tuple[Text, ...]
    relation: Relation = "equal"
    tolerance: Tolerance = PRINTED


class ReadingTest(Schema):
    """Another passage of the paper or its sources: found by reading, not computed."""

    type: Literal["reading"] = "reading"
    against: Text


class Side(Schema):
    """The scores on one side of a comparison.

    Attributes:
        score: For paths into the manifest of a score the accepted values; `CORPUS` stands for the corpus.
        adapter: Likewise for paths into the manifest of its adapter; empty takes scores without one too.
    """

    says: Text
    score: dict[Text, tuple[JsonValue, ...]] = {}
    adapter: dict[Text, tuple[JsonValue, ...]] = {}


class DirectionRule(Schema):
    """Two kinds of scores of one backbone, of which the paper has the second above the first."""

    metric: PaperMetric = "weighted_f1"
    lower: Side
    higher: Side
    differ: tuple[Text, ...] = ()  # fields of the protocol in which the two may differ
    # Keys of the adapter recipe in which the two may differ, where both have one.
    adapters_differ: tuple[Text, ...] = ()


class DirectionTest(DirectionRule):
    """A comparison on the test split of a corpus, with whatever backbone was scored."""

    type: Literal["direction"] = "direction"
    corpus: CorpusName


class Direction(DirectionRule):
    """A statement of the paper that has a direction and, on another backbone, no figure to meet."""

    place: Text
    says: Text
    corpora: Annotated[tuple[CorpusName, ...], Field(min_length=1)]


class OpenTest(Schema):
    """No manifest has the figure that would decide."""

    type: Literal["open"] = "open"
    missing: Text


Test = Annotated[
    ManifestTest
    | TrainingTotalTest
    | LabelShareTest
    | ScoreTest
    | PaperTest
    | ReadingTest
    | DirectionTest
    | OpenTest,
    Field(discriminator="type"),
]


class Claim(Schema):
    """One thing that the paper says.

    Attributes:
        value: The figure; None for a claim without one.
        other_readings: The same figure as printed in other places of the paper.
    """

    place: Text
    says: Text
    value: float | None = None
    other_readings: dict[Text, float] = {}
    test: Test


PrintedScores = dict[PaperMetric, Percent]
"""Figures in percent, by the names that the paper gives them."""


class ResultRow(Schema):
    """A row of the table of results.

    Attributes:
        group: A trained model of other authors, an untuned language model, or the paper's own.
        average: Over the corpora, as printed.
    """

    group: Literal["baseline", "language model", "own"]
    size: Text
    system: ScoredSystem
    corpora: dict[CorpusName, PrintedScores]
    average: PrintedScores = {}


class Results(Schema):
    """The paper's tables of scores and what its text says of them.

    Attributes:
        own: The row that is the paper's own system.
        improvements: Its last row, per corpus and for the average.
        ablation_table: The number of the table of ablations.
        ablations: Its rows per corpus; the row `own` is that of the table of results, printed again.
        ablated: The systems of the other rows.
        text_place: The section that prints scores again.
        text: Its scores, per row of the table of results.
        prompt: Name of the prompt recipe that its language models are scored with; None for any.
        tolerance: By how many points a measured score may differ.
    """

    table: Text
    own: Text
    rows: dict[Text, ResultRow]
    improvements: dict[CorpusName | Literal["average"], dict[PaperMetric, float]] = {}
    ablation_table: Text | None = None
    ablation_note: Text | None = None
    ablations: dict[CorpusName, dict[Text, PrintedScores]] = {}
    ablated: dict[Text, ScoredSystem] = {}
    text_place: Text | None = None
    text: dict[Text, dict[CorpusName, PrintedScores]] = {}
    prompt: Text | None = None
    tolerance: Tolerance

    @model_validator(mode="after")
    def _every_row_is_known(self) -> Self:
        unknown = {*self.text, self.own} - set(self.rows)
        for rows in self.ablations.values():
            unknown |= set(rows) - {self.own} - set(self.ablated)
        if unknown:
            raise ValueError(f"no such row: {', '.join(sorted(unknown))}")
        if (self.ablations and self.ablation_table is None) or (self.text and self.text_place is None):
            raise ValueError("ablations need ablation_table, and text needs text_place")
        return self

    @property
    def metrics(self) -> tuple[PaperMetric, ...]:
        """The metrics that its table of results has."""
        cells = [scores for row in self.rows.values() for scores in row.corpora.values()]
        return tuple(name for name in get_args(PaperMetric) if any(name in one for one in cells))


class ClaimsRecipe(Recipe):
    """The claims of a publication.

    Attributes:
        source: Where it is published, and what was read of it.
        places: Where it prints what the other keys hold; `counts` those of corpora, classes and splits.
        evidence: Manifests to test claims on, by a name; `corpora` is the one for the counts.
        corpora: Dialogues and utterances per corpus and split, as printed.
        unpublished_splits: Corpora whose split was not published; a split that was drawn to have as many
            dialogues says nothing about their counts.
        label_percentages: Share of each label in percent, as printed; a label that is not named has none
            printed.
        directions: What it says is better than what, to be tested on any backbone.
    """

    kind: Literal["claims"]
    source: Text
    evidence: dict[Text, Evidence] = {}
    places: dict[Literal["counts", "training_dialogues", "label_percentages"], Text] = {}
    corpora: dict[CorpusName, dict[Split, Sizes]] = {}
    unpublished_splits: tuple[CorpusName, ...] = ()
    classes: dict[CorpusName, Count] = {}
    training_dialogues: Count | None = None
    label_percentages: dict[Label, Percent] = {}
    results: Results | None = None
    directions: dict[Text, Direction] = {}
    claims: dict[Text, Claim] = {}

    @model_validator(mode="after")
    def _evidence_is_known(self) -> Self:
        asked = {
            one.test.evidence
            for one in self.claims.values()
            if isinstance(one.test, ManifestTest | TrainingTotalTest | LabelShareTest)
        }
        held = {"training_dialogues": self.training_dialogues, "label_percentages": self.label_percentages}
        if lacking := {name for name, value in held.items() if value} - set(self.places):
            raise ValueError(f"places does not say where the paper has {', '.join(sorted(lacking))}")
        if (self.corpora or self.classes) and "counts" not in self.places:
            raise ValueError("places does not say where the paper has its counts")
        if unknown := asked - set(self.evidence):
            raise ValueError(f"no such evidence: {', '.join(sorted(unknown))}")
        return self
