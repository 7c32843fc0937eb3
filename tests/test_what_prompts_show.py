"""What a prompt shows of its record, in training and in scoring alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.prompts import Prompt, load_prompt, with_knowledge
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.dataset import Knowledge
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.data import records_of as records_for

SPACES: dict[CorpusName, tuple[Label, ...]] = {"meld": LABELS[:7]}


@pytest.fixture
def prompt() -> Prompt:
    return load_prompt("dialogue-v1")


@pytest.fixture
def records(records_of: Callable[[Split, int], list[Record]], prompt: Prompt) -> list[Record]:
    """Ten records with a video description of their own, and two without."""
    return [
        record.model_copy(
            update={
                "video_description": f"Scene {index}." if index < 10 else None,
                "instruction": prompt.instruction(
                    LABELS[:7], has_video=index < 10, has_context=bool(record.context)
                ),
            }
        )
        for index, record in enumerate(records_of("train", 12))
    ]


def test_all_of_it_is_the_record_as_it_is(records: list[Record], prompt: Prompt) -> None:
    assert list(with_knowledge(records, Knowledge(), prompt, {})) == records


def test_without_context_neither_prompt_nor_instruction_speaks_of_it(
    records: list[Record], prompt: Prompt
) -> None:
    assert any("context" in prompt.prompt(record).lower() for record in records)
    for record in with_knowledge(records, Knowledge(context=False), prompt, SPACES):
        text = prompt.prompt(record)
        assert "context" not in text.lower()
        assert "Robin" not in text
        assert ("video description" in record.instruction) == (record.video_description is not None)


def test_without_video_the_records_are_as_if_there_had_never_been_one(
    records: list[Record], prompt: Prompt, records_of: Callable[[Split, int], list[Record]]
) -> None:
    bare = list(with_knowledge(records, Knowledge(video_descriptions="left_out"), prompt, SPACES))
    assert bare == records_of("train", 12)


def test_shuffled_descriptions_are_all_there_and_none_in_its_place(
    records: list[Record], prompt: Prompt
) -> None:
    knowledge = Knowledge(video_descriptions="shuffled")
    shuffled = list(with_knowledge(records, knowledge, prompt, SPACES))
    before = [record.video_description for record in records]
    after = [record.video_description for record in shuffled]
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert after[10:] == [None, None]
    assert not [pair for pair in zip(before[:10], after[:10], strict=True) if pair[0] == pair[1]]
    assert shuffled == list(with_knowledge(records, knowledge, prompt, SPACES))
    assert [record.output for record in shuffled] == [record.output for record in records]


def test_there_must_be_something_to_shuffle(small_dataset: Path, prompt: Prompt) -> None:
    settings = ["data.knowledge.video_descriptions=shuffled"]
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, settings).recipe
    built = read_manifest(small_dataset, DatasetManifest)
    with pytest.raises(DataError, match="no video description to shuffle"):
        records_for(small_dataset, built, recipe, prompt, "train")


def test_scoring_shows_what_training_showed(
    tmp_path: Path,
    tiny_recipe: Any,
    tiny_backbone: Path,
    small_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dialoguellm_release.encoding import Encoder
    from dialoguellm_release.schemas.scores import ScoreRecipe
    from dialoguellm_release.scoring.model import ModelFolders, score_model
    from dialoguellm_release.steps.adapter import trained

    settings = ["trainer.max_steps=2", "data.knowledge.context=false", "trainer.learning_rate=1e-2"]
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, settings)
    trained(recipe, tmp_path / "adapter", small_dataset, tiny_backbone.parent)

    shown: list[str] = []
    fit_all = Encoder.fit_all

    def watched(self: Encoder, records: Any) -> Any:
        prompts = fit_all(self, records)
        shown.extend(one.text for one in prompts)
        return prompts

    monkeypatch.setattr(Encoder, "fit_all", watched)
    task = load_recipe("meld", "score", ScoreRecipe).recipe
    model = ModelFolders(tiny_recipe, tiny_backbone, tmp_path / "adapter")
    ((_, scored),) = score_model(task, small_dataset, model, [task.scorer], tmp_path / "cache")
    assert scored.protocol.context_k == 0
    assert len(shown) == 15
    assert not [text for text in shown if "context" in text.lower()]
