"""A dialogue becomes records: each utterance with the ones before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.labels import Label, Split
from dialoguellm_release.schemas.record import Dialogue, Record, Utterance, record_id


@dataclass
class RecordMaker:
    """Makes the records of one corpus.

    Args:
        license: What every record carries.
        label_space: The labels that the instruction shows.
        relabel: Labels outside the label space to those inside; empty keeps every label.
        context_k: How many past utterances of the same dialogue are shown.
        descriptions: Video descriptions by record id.

    Attributes:
        relabelled: How often each relabelling was used, as `from -> to`.
    """

    prompt: Prompt
    license: str
    label_space: tuple[Label, ...]
    relabel: Mapping[Label, Label]
    context_k: int
    descriptions: Mapping[str, str] = field(default_factory=dict)
    relabelled: Counter[str] = field(default_factory=Counter)

    def records(
        self, dialogue: Dialogue, split: Split, leaks: Sequence[tuple[str, ...]] | None = None
    ) -> Iterator[Record]:
        """The records of a dialogue, in its order.

        Args:
            leaks: For each of them, the splits that it shares something with; None where nobody looked.
        """
        lines = [line_of(utterance.speaker, utterance.text) for utterance in dialogue.utterances]
        for position, utterance in enumerate(dialogue.utterances):
            context = tuple(lines[max(0, position - self.context_k) : position])
            label = self._label(utterance.label)
            name = record_id(dialogue.corpus, split, dialogue.id, utterance.index)
            description = self.descriptions.get(name)
            instruction = self.prompt.instruction(
                self.label_space, has_video=description is not None, has_context=bool(context)
            )
            yield Record(
                id=name,
                instruction=instruction,
                video_description=description,
                context=context,
                input=utterance.text,
                output=label,
                label=label,
                source_label=utterance.source_label,
                other_labels=utterance.other_labels and self._others(utterance, label),
                corpus=dialogue.corpus,
                split=split,
                dialogue_id=dialogue.id,
                utterance_index=utterance.index,
                speaker=utterance.speaker,
                start_s=utterance.start_s,
                end_s=utterance.end_s,
                license=self.license,
                leaks=None if leaks is None else leaks[position],
            )

    def _others(self, utterance: Utterance, label: Label) -> tuple[Label, ...]:
        others = (self.relabel.get(other, other) for other in utterance.other_labels)
        return tuple(dict.fromkeys(other for other in others if other != label))

    def _label(self, label: Label) -> Label:
        if label not in self.relabel:
            return label
        self.relabelled[f"{label} -> {self.relabel[label]}"] += 1
        return self.relabel[label]


def line_of(speaker: str | None, text: str) -> str:
    """An utterance as a line of context: with its speaker, where the corpus tells."""
    return f"{speaker}: {text}" if speaker else text
