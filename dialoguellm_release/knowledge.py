"""What a prompt shows of its record: all that the dataset has, or what an ablation leaves of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.knowledge import Knowledge
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.record import Record

_SHUFFLE_SEED = 2310


def with_knowledge(
    records: Iterable[Record],
    knowledge: Knowledge,
    prompt: Prompt,
    label_spaces: Mapping[CorpusName, Sequence[Label]],
) -> list[Record]:
    """The records as an adapter of this knowledge sees them, in training and in scoring.

    The instruction names the knowledge that a record has, so it is rendered anew.

    Args:
        label_spaces: The labels that the instruction of each corpus shows.
    """
    found = list(records)
    if knowledge == Knowledge():
        return found
    descriptions = _descriptions(found, knowledge)
    return [
        record.model_copy(
            update={
                "context": record.context if knowledge.context else (),
                "video_description": description,
                "instruction": prompt.instruction(
                    label_spaces[record.corpus],
                    has_video=description is not None,
                    has_context=knowledge.context and bool(record.context),
                ),
            }
        )
        for record, description in zip(found, descriptions, strict=True)
    ]


def _descriptions(records: Sequence[Record], knowledge: Knowledge) -> list[str | None]:
    match knowledge.video_descriptions:
        case "as_built":
            return [record.video_description for record in records]
        case "left_out":
            return [None] * len(records)
        case "shuffled":
            return _shuffled(records)


def _shuffled(records: Sequence[Record]) -> list[str | None]:
    """Each description with another record of its corpus, the same one each time; no record keeps its own."""
    described = defaultdict[CorpusName, list[int]](list)
    for index, record in enumerate(records):
        if record.video_description is not None:
            described[record.corpus].append(index)
    shuffled = [record.video_description for record in records]
    for corpus, indices in described.items():
        random.Random(f"{_SHUFFLE_SEED} {corpus}").shuffle(indices)
        for index, giver in zip(indices, [*indices[1:], indices[0]], strict=True):
            shuffled[index] = records[giver].video_description
    return shuffled
