"""The records of a split, divided by what makes them hard: context, change of speaker, shift of emotion."""

from __future__ import annotations

from collections.abc import Sequence

from dialoguellm_release.schemas.record import Record

CONTEXT_LENGTHS = ((0, "0"), (1, "1"), (2, "2 to 3"), (4, "4 to 7"), (8, "8 or more"))
"""The least length of each class of contexts, in utterances."""


def divided(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """For each thing that divides records, the class of each record by its id.

    Args:
        records: The whole split: what stands before an utterance decides where it belongs.
    """
    dialogues: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.utterance_index):
        dialogues.setdefault(record.dialogue_id, []).append(record)
    turns = [dialogue[: place + 1] for dialogue in dialogues.values() for place in range(len(dialogue))]
    return {
        "context length": {turn[-1].id: _context_length(turn[-1]) for turn in turns},
        "speaker": {turn[-1].id: _speaker_change(turn) for turn in turns},
        "emotion of the speaker": {turn[-1].id: _emotion_shift(turn) for turn in turns},
    }


def _context_length(record: Record) -> str:
    """How many utterances the record shows before its own."""
    return [name for least, name in CONTEXT_LENGTHS if len(record.context) >= least][-1]


def _speaker_change(turns: Sequence[Record]) -> str:
    """Whether the last utterance has another speaker than the one before it in the split."""
    *before, last = turns
    if last.speaker is None:
        return "not told"
    if not before:
        return "first of the dialogue"
    return "same as before" if before[-1].speaker == last.speaker else "changed"


def _emotion_shift(turns: Sequence[Record]) -> str:
    """Whether the speaker of the last utterance showed another emotion in his own utterance before it."""
    *before, last = turns
    if last.speaker is None:
        return "speaker not told"
    own = [turn for turn in before if turn.speaker == last.speaker]
    if not own:
        return "first of the speaker"
    return "same as before" if own[-1].output == last.output else "shifted"
