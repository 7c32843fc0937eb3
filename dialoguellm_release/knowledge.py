"""What a prompt shows of its record: all that the dataset has, or what an ablation leaves of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.recipes.dataset import Knowledge
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
    return list(each_with_knowledge(records, knowledge, prompt, label_spaces))


def each_with_knowledge(
    records: Iterable[Record],
    knowledge: Knowledge,
    prompt: Prompt,
    label_spaces: Mapping[CorpusName, Sequence[Label]],
) -> Iterator[Record]:
    """The same one after the other; they are held together only where descriptions are shuffled."""
    if knowledge == Knowledge():
        yield from records
        return
    for record, description in _described(records, knowledge):
        yield record.model_copy(
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


def _described(records: Iterable[Record], knowledge: Knowledge) -> Iterator[tuple[Record, str | None]]:
    match knowledge.video_descriptions:
        case "as_built":
            return ((record, record.video_description) for record in records)
        case "left_out":
            return ((record, None) for record in records)
        case "shuffled":
            found = list(records)
            return zip(found, _shuffled(found), strict=True)


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
