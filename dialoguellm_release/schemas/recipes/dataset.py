"""The dataset recipe: corpora, context, labels and expected counts; and the prompt recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dialoguellm_release.schemas.audit import ExpectedSizes
from dialoguellm_release.schemas.base import Count, Recipe, Schema, Text
from dialoguellm_release.schemas.corpus import CorpusEntry, Distribution
from dialoguellm_release.schemas.labels import (
    BASIC_LABELS,
    RESERVED_LABELS,
    RESERVED_NAMES,
    CorpusName,
    Label,
    Split,
)

ContextLength = Annotated[int, Field(ge=0, le=100)]
"""How many past utterances of the same dialogue are shown."""


class CleanRules(Schema):
    """What becomes of training records of the same text in the same context that leak into no held-out split.

    Records that leak are never clean, whatever is set here, and held-out records are left alone. The first
    record is that of the first corpus in the order of the vocabulary, then of the first dialogue by its id.

    Attributes:
        conflicts: Of records with different labels, `majority` keeps those with the label that most of them
            have, of equals the one of the first record; `drop` keeps none; `keep` all.
        duplicates: Of records with the same label, `first` keeps the first, `keep` all.
    """

    conflicts: Literal["majority", "drop", "keep"] = "majority"
    duplicates: Literal["first", "keep"] = "first"


class Expectation(ExpectedSizes):
    """The counts that a build must reach, and why they differ from the paper's where they do."""

    utterances: Count | None = None
    reason: Text | None = None


class SplitDraw(Schema):
    """How held-out dialogues are drawn where a corpus has no public split.

    Attributes:
        split_file: A table with the columns `dialogue_id` and `split`, below the corpus folder; None draws.
        seed: Of the draw.
        dialogues: How many dialogues each split gets; the rest is left out and counted.
    """

    split_file: Text | None = None
    seed: int
    dialogues: dict[Split, Count]

    @model_validator(mode="after")
    def _every_split_is_sized(self) -> Self:
        if set(self.dialogues) != {"train", "validation", "test"}:
            raise ValueError("dialogues must state train, validation and test")
        return self


SpeakerNames = Literal["named", "numbered", "left_out"]
LabelSpace = Annotated[
    Annotated[Literal["corpus", "basic7"], Tag("name")]
    | Annotated[tuple[Label, ...], Field(min_length=2), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "name"),
]


class CorpusRecipe(Schema):
    """One corpus of a dataset; an empty `expect` checks nothing.

    Attributes:
        file: Path of the corpus file, relative to this recipe; None takes the bundled one of that name.
        entry: The corpus file itself, which takes the place of `file` when the recipe is loaded.
        source: Which release of the corpus is read; None for the format of its file.
        split: How splits come about where the corpus has none.
        distribution: What `publish` sends of it. A build holds everything, whatever is stated here.
        context_k: For this corpus alone; None takes that of the dataset.
    """

    file: Text | None = None
    entry: CorpusEntry | None = None
    source: Text | None = None
    split: SplitDraw | None = None
    distribution: Distribution = "exclude"
    context_k: ContextLength | None = None
    expect: dict[Split, Expectation] = {}


class VideoUse(Schema):
    """What is done with the descriptions of a video folder, without which such a recipe is not built.

    Attributes:
        shuffle_seed: Gives each description to another record of its corpus and split, by this seed; None
            leaves each where it belongs.
    """

    shuffle_seed: int | None = None


class PromptRecipe(Recipe):
    """How a record becomes a prompt.

    Attributes:
        instruction: Jinja template of the instruction; sees `labels` (list) and `knowledge` (list of the
            knowledge that the record really has: `video description`, `context`).
        template: Jinja template of the prompt; sees the columns of the record. Its result may not end
            in white space.
    """

    kind: Literal["prompt"]
    instruction: Text
    template: Text


class DatasetRecipe(Recipe):
    """A dataset to build.

    Attributes:
        synthetic: True where the sources are the synthetic corpora of this project.
        prompt: Name of a prompt recipe, or the path of one.
        own_prompt: The prompt recipe itself where `prompt` is a path, which then becomes a name when the
            recipe is loaded: a dataset carries the prompt that no installed package has.
        claims: Name of a claims recipe whose counts the card sets beside the built ones; None for none.
        context_k: How many past utterances of the same dialogue are shown.
        speakers: How records name who speaks, in the context and before the input: as the corpus does; as
            `Speaker 1`, `Speaker 2`, in the order in which they first speak in a dialogue; or not at all.
        label_space: `corpus` keeps the labels of each corpus; `basic7`, or a list of labels, is the label
            space of all of them.
        relabel: Which label of that space replaces each label outside it; empty with `corpus`.
        corpora: By name, in the order of configs, class ids and records.
        rights: By corpus, the right that the publisher holds to pass on more of it than its licences allow,
            as a sentence that the card shows; counts only where the repository is private.
        video: None takes descriptions as they are where a video folder is given.
        clean: Which of the training records that repeat or contradict each other the clean part keeps.
    """

    kind: Literal["dataset"]
    pretty_name: Text
    synthetic: bool = False
    prompt: Text
    own_prompt: PromptRecipe | None = None
    claims: Text | None = None
    context_k: ContextLength
    speakers: SpeakerNames = "named"
    label_space: LabelSpace = "corpus"
    relabel: dict[Label, Label] = {}
    clean: CleanRules = CleanRules()
    video: VideoUse | None = None
    corpora: dict[CorpusName, CorpusRecipe]
    rights: dict[CorpusName, Annotated[str, Field(pattern=r"\S")]] = {}

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        if taken := sorted(set(self.corpora) & RESERVED_NAMES):
            raise ValueError(f"no corpus may be named {', '.join(taken)}: it is the name of a config")
        return self

    @property
    def shared_labels(self) -> tuple[Label, ...] | None:
        """The label space of all corpora; None where each has its own."""
        if self.label_space == "corpus":
            return None
        return BASIC_LABELS if self.label_space == "basic7" else self.label_space

    def context_of(self, corpus: CorpusName) -> int:
        """How many past utterances the records of a corpus show."""
        stated = self.corpora[corpus].context_k
        return self.context_k if stated is None else stated

    @model_validator(mode="after")
    def _relabelling_leads_into_the_label_space(self) -> Self:
        labels = self.shared_labels
        if labels is None:
            if self.relabel:
                raise ValueError("relabel is set, but label_space is corpus")
            return self
        if len(set(labels)) != len(labels):
            raise ValueError("label_space names a label twice")
        if reserved := sorted(RESERVED_LABELS & set(labels)):
            raise ValueError(f"no label may be called {', '.join(reserved)}: predictions use it")
        if both := sorted(set(self.relabel) & set(labels)):
            raise ValueError(f"relabel replaces labels that are in the label space: {', '.join(both)}")
        if not set(self.relabel.values()) <= set(labels):
            raise ValueError(f"relabel may only lead to {', '.join(labels)}")
        return self

    @model_validator(mode="after")
    def _rights_are_of_its_corpora(self) -> Self:
        if others := sorted(set(self.rights) - set(self.corpora)):
            raise ValueError(f"rights names what is not among the corpora: {', '.join(others)}")
        return self


class Knowledge(Schema):
    """The knowledge that an adapter is trained and scored with (paper section 4.5, the ablations).

    Attributes:
        context: Whether the utterances before it are shown.
        video_descriptions: As the dataset has them; left out; or each given to another record of its
            corpus, which tells whether their content matters.
    """

    context: bool = True
    video_descriptions: Literal["as_built", "left_out", "shuffled"] = "as_built"
