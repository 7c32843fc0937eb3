"""What the folder of a model says: label spaces, speakers, calibration, merged weights, languages."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release import EmotionPredictor, ReleaseError, Turn, load_prompt, predict_file
from dialoguellm_release.dataset.records import RecordMaker
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.predict.reading import count_scripts, warning_of_scripts
from dialoguellm_release.predict.trained_model import LabelScores, TaskChoice, TrainedModel, choose_task
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import AdapterManifest, TrainedCorpus, TrainedTask
from dialoguellm_release.schemas.record import Dialogue, Record, Utterance
from dialoguellm_release.steps.model import merge_adapter

SPACE = LABELS[:7]
TALK = [Turn("The letter came.", "Ann"), Turn("They said yes!", "Bob"), Turn("No."), Turn("Oh!", "Ann")]


@pytest.fixture
def mix(tiny_adapter: Path) -> TrainedModel:
    """A model of three corpora, two of them with one label space."""
    manifest = read_manifest(tiny_adapter, AdapterManifest)
    corpora = {
        "one": TrainedCorpus(label_space=SPACE, context_k=1, languages=("en",)),
        "two": TrainedCorpus(label_space=SPACE, context_k=1, languages=("hi-Latn",)),
        "three": TrainedCorpus(label_space=("anger", "peaceful", "neutral"), context_k=1),
        "four": TrainedCorpus(label_space=("anger", "bored"), context_k=3),
    }
    task = TrainedTask(corpora=corpora, max_length=512)
    figures = manifest.figures.model_copy(update={"task": task})
    stated = manifest.model_copy(update={"figures": figures})
    return TrainedModel(tiny_adapter, "mix", stated, load_prompt("dialogue-v1"))


@pytest.mark.parametrize(
    ("labels", "corpus", "expected"),
    [
        (None, "two", TaskChoice(SPACE, SPACE, 1, corpora=("two",), languages=("hi-Latn",))),
        (["sadness", "fear"], None, TaskChoice(SPACE, ("fear", "sadness"), 1, "named", ("one", "two"))),
        (["bored", "anger"], None, TaskChoice(("anger", "bored"), ("anger", "bored"), 3, "named", ("four",))),
        (["anger", "neutral"], None, "predict.several_label_spaces"),
        (None, None, "predict.several_label_spaces"),
        (["bored", "fear"], None, "predict.labels_of_several"),
        (["peaceful", "anger"], "one", "predict.label_outside_space"),
    ],
)
def test_the_label_space_of_a_model_of_several_corpora(
    labels: Sequence[str] | None, corpus: str | None, expected: object, mix: TrainedModel
) -> None:
    if isinstance(expected, str):
        with pytest.raises(ReleaseError) as raised:
            choose_task(mix, labels, corpus)
        assert raised.value.problems[0].code == expected
    else:
        assert isinstance(expected, TaskChoice)
        found = choose_task(mix, labels, corpus)
        assert (found.shown, found.labels, found.context_k) == (
            expected.shown,
            expected.labels,
            expected.context_k,
        )
        assert found.corpora == expected.corpora


class Listening:
    """Answers nothing, and keeps the records that it was asked."""

    def __init__(self) -> None:
        self.asked: list[Record] = []

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        self.asked += records
        return [LabelScores(None, reason="not asked") for _ in records]


@pytest.mark.parametrize("speakers", ["named", "numbered", "left_out"])
@pytest.mark.parametrize("context_k", [0, 2])
def test_prompts_are_those_of_a_dataset(speakers: Any, context_k: int) -> None:
    prompt, listening = load_prompt("dialogue-v1"), Listening()
    EmotionPredictor(listening, prompt, TaskChoice(SPACE, SPACE, context_k, speakers))(TALK)
    utterances = tuple(
        Utterance(index=place, text=one.text, speaker=one.speaker, label="anger", source_label="anger")
        for place, one in enumerate(TALK)
    )
    maker = RecordMaker(prompt, "Apache-2.0", SPACE, {}, context_k, speakers)
    dialogue = Dialogue(corpus="one", split="test", id="1", utterances=utterances)
    expected = [prompt.prompt(one) for one in maker.records([dialogue], "test")]
    assert [prompt.prompt(one) for one in listening.asked] == expected


def test_a_calibration_of_this_adapter_is_applied(
    tiny_adapter: Path, tiny_backbone: Path, predictor: EmotionPredictor, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    errors = {"nll": 1.0, "ece": 0.1, "brier": 0.5}
    calibration = {
        "temperature": 2.0,
        "corpus": "meld",
        "split": "validation",
        "label_space": SPACE,
        "scorer": "first_token",
        "records": 20,
        "dataset_content_sha256": "a" * 64,
        "adapter_content_sha256": read_manifest(folder, AdapterManifest).content_sha256,
        "score_content_sha256": "b" * 64,
        "before": errors,
        "after": errors,
    }
    (folder / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    calibrated = EmotionPredictor.from_pretrained(folder, backbone=tiny_backbone)
    assert (predictor.temperature, calibrated.temperature) == (None, 2.0)
    (tmp_path / "talk.txt").write_text(ENGLISH, encoding="utf-8")
    for one, corpus, said in (
        (predictor, None, "not calibrated"),
        (calibrated, "meld", "calibrated on meld"),
    ):
        made = predict_file(tmp_path / "talk.txt", one, tmp_path / f"{corpus}.parquet")
        assert made.calibrated_on == corpus
        assert said in made.warnings[0]
        assert pq.read_schema(made.out).metadata[b"calibrated_on"].decode() == (corpus or "no corpus")
    for before, after in zip(predictor(TALK), calibrated(TALK), strict=True):
        roots = {label: share**0.5 for label, share in before.probabilities.items()}
        assert before.label == after.label
        assert after.probabilities == pytest.approx(
            {label: root / sum(roots.values()) for label, root in roots.items()}, abs=1e-6
        )
    calibration["label_space"] = SPACE[:3]
    (folder / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    assert EmotionPredictor.from_pretrained(folder, backbone=tiny_backbone).temperature is None
    calibration["adapter_content_sha256"] = "c" * 64
    (folder / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        EmotionPredictor.from_pretrained(folder, backbone=tiny_backbone)
    assert raised.value.problems[0].code == "calibration.other_adapter"


def test_a_merged_model_answers_as_its_adapter(
    tiny_adapter: Path, tiny_backbone: Path, predictor: EmotionPredictor, tmp_path: Path
) -> None:
    merged = merge_adapter(tiny_adapter, tmp_path / "merged", backbones=tiny_backbone.parent).folder
    alone = EmotionPredictor.from_pretrained(merged)
    for ours, theirs in zip(alone(TALK), predictor(TALK), strict=True):
        assert ours.label == theirs.label
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
    stated = json.loads((merged / "manifest.json").read_text(encoding="utf-8"))
    own = ["bored", "anger", "surprised a little"]
    stated["figures"]["task"]["corpora"]["own"] = {"label_space": own, "context_k": 1, "languages": []}
    (merged / "manifest.json").write_text(json.dumps(stated), encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        EmotionPredictor.from_pretrained(merged)
    assert raised.value.problems[0].code == "predict.several_label_spaces"
    for again in (
        EmotionPredictor.from_pretrained(merged, corpus="meld"),
        EmotionPredictor.from_pretrained(merged, labels=SPACE),
    ):
        assert again(TALK) == alone(TALK)
    other = EmotionPredictor.from_pretrained(merged, corpus="own", labels=["bored", "surprised a little"])
    assert {one.label for one in other(TALK)} <= {"bored", "surprised a little"}
    (merged / "talk.txt").write_text(ENGLISH, encoding="utf-8")
    made = predict_file(merged / "talk.txt", other, tmp_path / "out.csv")
    assert "p_surprised a little" in made.out.read_text(encoding="utf-8").split("\n")[0]


RUSSIAN = "Они сказали да, и я очень рада этому. " * 9
ENGLISH = "They said yes, and I am very glad. " * 9


@pytest.mark.parametrize(
    ("text", "languages", "said"),
    [
        (RUSSIAN, ["en"], "100% of the letters are Cyrillic"),
        (ENGLISH, ["hi-Deva", "ru"], "100% of the letters are Latin"),
        (RUSSIAN, ["en", "ru"], None),
        (ENGLISH, ["hi-Latn"], None),
        (RUSSIAN, ["en", "xx"], None),
        (RUSSIAN, [], None),
        (RUSSIAN[:60], ["en"], None),
        (ENGLISH + RUSSIAN[:200], ["en"], None),
    ],
)
def test_what_can_be_known_of_the_language(text: str, languages: list[str], said: str | None) -> None:
    letters = Counter[str]()
    count_scripts(text, letters)
    warning = warning_of_scripts(letters, languages)
    assert warning is None if said is None else said in str(warning)


def test_a_file_in_another_language_is_labelled_with_a_warning(
    predictor: EmotionPredictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.txt").write_text(RUSSIAN, encoding="utf-8")
    made = predict_file(tmp_path / "talk.txt", predictor, tmp_path / "out.csv")
    assert "Cyrillic" in made.warnings[0]
    assert "warning: 100% of the letters are Cyrillic" in capsys.readouterr().err
