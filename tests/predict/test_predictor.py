"""Predictions: those of `score run` on the same records, whatever the batches and the order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release import EmotionPrediction, EmotionPredictor, ReleaseError, Turn, read_records
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.steps.score import ModelChoice, score

SPACE = LABELS[:7]
Conversation = Sequence[Turn]


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory, small_dataset: Path, tiny_adapter: Path, tiny_backbone: Path
) -> dict[str, list[Any]]:
    """The columns of `predictions.parquet` of a score run of the tiny adapter."""
    folder = tmp_path_factory.mktemp("scores")
    model = ModelChoice(tiny_adapter, backbones=tiny_backbone.parent, cache=folder / "cache")
    score("meld", small_dataset, model, folder / "score", overrides=["intervals.resamples=50"])
    found: dict[str, list[Any]] = pq.read_table(folder / "score" / "predictions.parquet").to_pydict()
    return found


@pytest.fixture(scope="module")
def conversations(small_dataset: Path) -> list[Conversation]:
    """The dialogues of the records that were scored; the last turn of each is the record's."""
    found: list[Conversation] = []
    for record in read_records(small_dataset, "meld", "test"):
        before = [line.partition(": ") for line in record.context]
        turns = [Turn(text, speaker) for speaker, _, text in before]
        found.append([*turns, Turn(record.input, record.speaker)])
    return found


def assert_as_scored(predictions: Sequence[EmotionPrediction], scored: dict[str, list[Any]]) -> None:
    assert [one.label for one in predictions] == scored["prediction"]
    for label in SPACE:
        ours = [one.probabilities[label] for one in predictions]
        assert ours == pytest.approx(scored[f"score_{label}"], abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_predictions_are_those_of_score_run(
    batch_size: int,
    tiny_adapter: Path,
    tiny_backbone: Path,
    conversations: list[Conversation],
    scored: dict[str, list[Any]],
) -> None:
    predictor = EmotionPredictor.from_pretrained(tiny_adapter, backbone=tiny_backbone, batch_size=batch_size)
    assert predictor.labels == SPACE
    assert_as_scored([one[-1] for one in predictor.predict(conversations)], scored)


def test_the_order_of_conversations_changes_nothing(
    predictor: EmotionPredictor, conversations: list[Conversation], scored: dict[str, list[Any]]
) -> None:
    order = random.Random(7).sample(range(len(conversations)), len(conversations))
    found = {
        place: one[-1]
        for place, one in zip(order, predictor.predict(conversations[at] for at in order), strict=True)
    }
    assert_as_scored([found[place] for place in range(len(order))], scored)


def test_a_prediction_is_a_distribution_with_its_margin(predictor: EmotionPredictor) -> None:
    first, second = predictor(
        ["The letter came this morning.", {"speaker": "Alex", "text": "They said yes!"}]
    )
    for one in (first, second):
        assert tuple(one.probabilities) == SPACE
        assert sum(one.probabilities.values()) == pytest.approx(1)
        best, next_best = sorted(one.probabilities.values(), reverse=True)[:2]
        assert one.probabilities[str(one.label)] == best
        assert one.margin == best - next_best


def test_a_turn_without_text_has_no_label_and_is_no_context(predictor: EmotionPredictor) -> None:
    turns = [Turn("The letter came."), Turn(" \u200b"), Turn("They said yes!", "Alex")]
    first, empty, last = predictor(turns)
    assert (empty.label, empty.probabilities) == (None, {})
    assert empty.reason == "the turn has no text"
    assert [first, last] == predictor([turns[0], turns[2]])
    assert predictor([]) == []


def test_some_labels_of_the_label_space(
    predictor: EmotionPredictor, tiny_adapter: Path, tiny_backbone: Path
) -> None:
    few = EmotionPredictor.from_pretrained(
        tiny_adapter, backbone=tiny_backbone, labels=["neutral", "anger"], context_k=0
    )
    assert few.labels == ("anger", "neutral")
    turns = ["I am angry because of the dog"]
    (every,), (two,) = predictor(turns), few(turns)
    share = every.probabilities["anger"] / (every.probabilities["anger"] + every.probabilities["neutral"])
    assert two.probabilities["anger"] == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"labels": ["angry", "neutral"]}, "predict.label_outside_space", "is it anger?"),
        ({"labels": ["anger"]}, "predict.labels", "nothing to choose from"),
        ({"corpus": "emorynlp"}, "argument.unknown_name", "meld"),
        ({"context_k": -1}, "predict.context", "negative"),
        ({"batch_size": 0}, "predict.batch_size", "not positive"),
        ({"device": "nothing:7"}, "backbones.device", "cannot be used"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, Any], code: str, said: str, tiny_adapter: Path, tiny_backbone: Path
) -> None:
    with pytest.raises(ReleaseError) as raised:
        EmotionPredictor.from_pretrained(tiny_adapter, backbone=tiny_backbone, **options)
    assert raised.value.problems[0].code == code
    assert said in str(raised.value)


@pytest.mark.parametrize("turn", [7, {"words": "no text"}, {"text": "x", "speaker": 3}, None])
def test_what_is_no_turn(turn: Any, predictor: EmotionPredictor) -> None:
    with pytest.raises(ReleaseError) as raised:
        predictor([turn])
    assert raised.value.problems[0].code == "predict.no_turn"


@pytest.mark.parametrize("turn", ["\ud800", Turn("x", "\ud800")])
def test_half_of_a_character(turn: Any, predictor: EmotionPredictor) -> None:
    with pytest.raises(ReleaseError) as raised:
        predictor([turn])
    assert raised.value.problems[0].code == "corpora.not_unicode"


@pytest.mark.parametrize(
    "conversation", ["They said yes!", {"text": "They said yes!"}, Turn("They said yes!")]
)
def test_a_turn_is_no_conversation(conversation: Any, predictor: EmotionPredictor) -> None:
    for asked in (lambda: predictor(conversation), lambda: list(predictor.predict([conversation]))):
        with pytest.raises(ReleaseError) as raised:
            asked()
        assert raised.value.problems[0].code == "predict.no_conversation"


def test_long_turns_are_cut_and_counted(tiny_adapter: Path, tiny_backbone: Path) -> None:
    predictor = EmotionPredictor.from_pretrained(tiny_adapter, backbone=tiny_backbone)
    long = " ".join(["word"] * 5_000)
    first, last = predictor(["The letter came.", long])
    assert first.label in SPACE
    assert last.label in SPACE
    assert predictor.counts == {"turns": 2, "without label": 0, "shortened": 0, "cut": 1}
    predictor([long, "They said yes!"])
    assert predictor.counts["shortened"] == 1
