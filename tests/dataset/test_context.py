from __future__ import annotations

import pytest
from pydantic import ValidationError

from dialoguellm_release.dataset.records import RecordMaker
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.record import Dialogue, Record, Utterance


def utterance(index: int, text: str, speaker: str | None = "Ann", label: Label = "neutral") -> Utterance:
    return Utterance(index=index, text=text, speaker=speaker, label=label, source_label=label)


DIALOGUE = Dialogue(
    corpus="meld",
    split="test",
    id="7",
    utterances=(
        utterance(0, "One."),
        utterance(2, "Two.", "Bob", "excitement"),
        utterance(3, "Three.", None),
    ),
)


def maker(context_k: int = 1, relabel: dict[Label, Label] | None = None) -> RecordMaker:
    return RecordMaker(
        load_prompt("dialogue-v1"), "GPL-3.0-only", ("neutral", "happiness"), relabel or {}, context_k
    )


@pytest.mark.parametrize(
    ("k", "contexts"),
    [
        (0, [(), (), ()]),
        (1, [(), ("Ann: One.",), ("Bob: Two.",)]),
        (2, [(), ("Ann: One.",), ("Ann: One.", "Bob: Two.")]),
        (9, [(), ("Ann: One.",), ("Ann: One.", "Bob: Two.")]),
    ],
)
def test_context_is_the_k_utterances_before(k: int, contexts: list[tuple[str, ...]]) -> None:
    assert [record.context for record in maker(k).records([DIALOGUE], "test")] == contexts


def test_ids_keep_the_numbers_of_the_corpus() -> None:
    assert [record.id for record in maker().records([DIALOGUE], "test")] == [
        "meld/test/7/0",
        "meld/test/7/2",
        "meld/test/7/3",
    ]


def test_the_instruction_names_only_what_the_record_has() -> None:
    first, second, _ = maker().records([DIALOGUE], "test")
    assert "context" not in first.instruction
    assert "video" not in second.instruction
    assert "with the help of the context" in second.instruction
    assert second.instruction.endswith("neutral, happiness.")


def test_relabelling_is_counted_and_keeps_the_source() -> None:
    one = maker(relabel={"excitement": "happiness"})
    record = one.records([DIALOGUE], "test")[1]
    assert (record.output, record.label, record.source_label) == ("happiness", "happiness", "excitement")
    assert one.relabelled == {"excitement -> happiness": 1}


def test_a_record_that_contradicts_itself_is_refused() -> None:
    data = maker().records([DIALOGUE], "test")[0].model_dump()
    with pytest.raises(ValidationError, match="id is not corpus/split"):
        Record(**data | {"id": "meld/test/7/1"})
    with pytest.raises(ValidationError, match="output and label differ"):
        Record(**data | {"output": "fear"})
