"""Examples in prompts: from the training split, without records that share text with the scored split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.audit import MIN_WORDS
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import FewShot
from dialoguellm_release.scoring.task import Task
from dialoguellm_release.text import count_words, normalise

ROWS = 256
"""So many records are compared with every training record at once."""


@dataclass(frozen=True)
class Examples:
    """The examples of each record by its id, in the order in which they are shown, and how many leak."""

    settings: FewShot
    shown: Mapping[str, tuple[Record, ...]]
    left_out: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Every record that is an example: in their order where all see the same, else sorted."""
        if self.settings.choose == "balanced":
            return tuple(one.id for one in next(iter(self.shown.values()), ()))
        return tuple(sorted({one.id for examples in self.shown.values() for one in examples}))

    @property
    def records(self) -> list[Record]:
        """Every record that is an example, once."""
        return list({one.id: one for examples in self.shown.values() for one in examples}.values())

    def with_records(self, records: Iterable[Record]) -> Examples:
        """The same examples, each as the record of its id here."""
        by_id = {one.id: one for one in records}
        shown = {name: tuple(by_id[one.id] for one in examples) for name, examples in self.shown.items()}
        return replace(self, shown=shown)

    @property
    def stated(self) -> dict[str, object]:
        """The examples as the fields of a protocol."""
        lines = (
            f"{record} {' '.join(one.id for one in examples)}\n" for record, examples in self.shown.items()
        )
        return {
            "shots": self.settings.shots,
            "few_shot_rule": self.settings.choose,
            "few_shot_ids": self.ids,
            "few_shot_sha256": sha256_of_text("".join(lines)),
        }


class PromptWithExamples(Prompt):
    """A prompt that begins with examples, each with its answer and an empty line."""

    def __init__(self, prompt: Prompt, examples: Examples) -> None:
        super().__init__(prompt.name, prompt.recipe)
        self._examples = examples

    def prompt(self, record: Record) -> str:
        """The examples, then the prompt of the record."""
        alone = super().prompt
        examples = self._examples.shown.get(record.id, ())
        answered = (f"{alone(one)}{self.completion(one.output)}\n\n" for one in examples)
        return "".join([*answered, alone(record)])


def examples_of(task: Task, dataset: Path) -> Examples | None:
    """The examples that a recipe asks for; None where it asks for none. Raises as `draw_examples`."""
    few_shot = task.settings.few_shot
    return None if few_shot is None else draw_examples(few_shot, task, dataset)


def draw_examples(few_shot: FewShot, task: Task, dataset: Path) -> Examples:
    """The examples of every record of a task.

    Training records that leak into the scored split are left out: those that the audit of the dataset names,
    and those whose input or a line of whose context occurs there too, word for word.
    """
    settings = task.settings
    training = list(read_records(dataset, settings.corpus, "train"))
    held_out = f"{settings.corpus}/{settings.split}"
    texts = {text for record in task.split for text in _long_texts(record)}
    candidates = [
        record
        for record in training
        if held_out not in (record.leaks or ()) and texts.isdisjoint(_long_texts(record))
    ]
    if len(candidates) < few_shot.shots:
        raise DataError(
            Problem(
                f"few_shot of {settings.corpus}",
                "fewer training records are available than examples are asked for",
                expected=f"{few_shot.shots} or more",
                got=f"{len(candidates)}; {len(training) - len(candidates)} share text with {held_out}",
                fix="set few_shot.shots to a lower number",
                code="few_shot.too_few_records",
            )
        )
    if few_shot.choose == "balanced":
        drawn = _balanced(candidates, task.labels, few_shot)
        shown = {record.id: drawn for record in task.records}
    else:
        nearest = _nearest(candidates, task.records, few_shot.shots)
        shown = {record.id: examples for record, examples in zip(task.records, nearest, strict=True)}
    return Examples(few_shot, shown, len(training) - len(candidates))


def _balanced(candidates: Sequence[Record], labels: Sequence[Label], few_shot: FewShot) -> tuple[Record, ...]:
    """As many examples of each label as possible, labels and records in an order that the seed decides.

    Why hashes: their order is the same in every version of Python, and removing a record moves no other.
    """

    def order(name: str) -> str:
        return sha256_of_text(f"{few_shot.seed} {name}")

    by_label = {
        label: sorted((one for one in candidates if one.output == label), key=lambda one: order(one.id))
        for label in sorted(labels, key=order)
    }
    deepest = max(map(len, by_label.values()))
    in_turn = [rows[place] for place in range(deepest) for rows in by_label.values() if place < len(rows)]
    chosen = in_turn[: few_shot.shots]
    return tuple(sorted(chosen, key=lambda one: order(f"{one.id} shown")))


def _nearest(
    candidates: Sequence[Record], records: Sequence[Record], shots: int
) -> Iterable[tuple[Record, ...]]:
    """The candidates with the highest cosine of TF-IDF, the nearest last; ties in canonical order."""
    with needing("score"):
        from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(preprocessor=_as_words, sublinear_tf=True, token_pattern=r"\S+")
    known = vectorizer.fit_transform([one.input for one in candidates])
    for start in range(0, len(records), ROWS):
        wanted = vectorizer.transform([one.input for one in records[start : start + ROWS]])
        for row in -(wanted @ known.T).toarray():
            nearest = row.argsort(kind="stable")[:shots]
            yield tuple(candidates[place] for place in reversed(nearest))


def _as_words(text: str) -> str:
    """The words of a text; one that has none, such as an emoji, as it is."""
    return normalise(text) or text


def _long_texts(record: Record) -> set[str]:
    """What a record shows, as words, where it is long enough to tell where it comes from."""
    lines = (line.partition(": ")[2] or line for line in record.context)
    texts = map(normalise, (record.input, *lines))
    return {text for text in texts if count_words(text) >= MIN_WORDS}
