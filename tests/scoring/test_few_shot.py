"""Examples in the prompt: from training alone, by a stated rule, never what shares text with the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.errors import DataError, RecipeError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import ScoreRecipe
from dialoguellm_release.scoring.few_shot import Examples, PromptWithExamples, draw_examples
from dialoguellm_release.scoring.task import read_task
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.score import ModelChoice, score
from tests.dataset.test_scripts import SENTENCES

SPACE = LABELS[:7]
FEW = "intervals.resamples=50"


@pytest.fixture
def draw(audited_dataset: Path) -> Callable[..., Examples]:
    """The examples of MELD's test records."""

    def drawn(*settings: str, dataset: Path = audited_dataset) -> Examples:
        recipe = load_recipe("meld", "score", ScoreRecipe, settings).recipe
        assert recipe.few_shot is not None
        return draw_examples(recipe.few_shot, read_task(recipe, dataset), dataset)

    return drawn


def plain(records: list[Any]) -> list[Any]:
    return [record.model_copy(update={"context": (), "leaks": None}) for record in records]


def test_balanced_examples_are_as_many_of_each_label_and_alike_for_all(draw: Any) -> None:
    examples = draw("few_shot.shots=14")
    assert len(examples.shown) == 40
    assert len(set(examples.shown.values())) == 1
    assert Counter(one.output for one in examples.shown["meld/test/0/0"]) == dict.fromkeys(SPACE, 2)
    assert examples.ids == tuple(one.id for one in examples.shown["meld/test/0/0"])
    assert all(name.startswith("meld/train/") for name in examples.ids)


def test_the_seed_decides(draw: Any) -> None:
    first, again, other = (draw("few_shot.shots=7", f"few_shot.seed={seed}") for seed in (1, 1, 2))
    assert first.stated == again.stated
    assert first.ids != other.ids
    assert first.stated != other.stated


def test_what_leaks_is_never_drawn(draw: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any) -> None:
    """Every second training dialogue leaks into the test split, by the audit."""
    train = [
        record.model_copy(update={"leaks": ("meld/test",) if int(record.dialogue_id) % 2 else ()})
        for record in dialogues_of("train", 70)
    ]
    dataset = dataset_of(tmp_path / "dataset", {"train": train, "test": plain(dialogues_of("test", 5))})
    texts = {"meld/train/1/0", "meld/train/3/0"}
    for choose in ("balanced", "nearest"):
        examples = draw("few_shot.shots=7", f"few_shot.choose={choose}", dataset=dataset)
        assert examples.ids
        assert not texts & set(examples.ids)
        assert all(int(name.split("/")[2]) % 2 == 0 for name in examples.ids)


def test_what_no_audit_told_is_found_by_its_words(
    draw: Any, tmp_path: Path, records_of: Any, dataset_of: Any
) -> None:
    """Training record n says what test record n says; the first seven stand in the test split."""
    train, test = plain(records_of("train", 35)), plain(records_of("test", 7))
    train[20] = train[20].model_copy(update={"context": (f"Robin: {test[0].input.upper()}?",)})
    dataset = dataset_of(tmp_path / "dataset", {"train": train, "test": test})
    for choose in ("balanced", "nearest"):
        examples = draw("few_shot.shots=27", f"few_shot.choose={choose}", dataset=dataset)
        assert examples.left_out == 8
        assert set(examples.ids) == {record.id for record in [*train[7:20], *train[21:]]}
    with pytest.raises(DataError, match="27; 8 share text with meld/test"):
        draw("few_shot.shots=28", dataset=dataset)


def test_nearest_examples_have_the_words_of_the_record_the_likest_last(
    draw: Any, tmp_path: Path, records_of: Any, dataset_of: Any
) -> None:
    train, test = plain(records_of("train", 3)), plain(records_of("test", 1))
    inputs = ("it rains in the old town", "rain falls on the old town here", "nobody came")
    train = [record.model_copy(update={"input": text}) for record, text in zip(train, inputs, strict=True)]
    test = [test[0].model_copy(update={"input": "rain falls on the town"})]
    examples = draw(
        "few_shot.shots=2",
        "few_shot.choose=nearest",
        dataset=dataset_of(tmp_path / "dataset", {"train": train, "test": test}),
    )
    assert [one.input for one in examples.shown[test[0].id]] == list(inputs[:2])


def test_the_examples_stand_before_the_prompt_with_their_answers(draw: Any, audited_dataset: Path) -> None:
    examples = draw("few_shot.shots=2")
    prompt = load_prompt("dialogue-v1")
    record = next(read_records(audited_dataset, "meld", "test"))
    first, second = examples.shown[record.id]
    assert PromptWithExamples(prompt, examples).prompt(record) == (
        f"{prompt.prompt(first)} {first.output}\n\n{prompt.prompt(second)} {second.output}\n\n"
        f"{prompt.prompt(record)}"
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ar", "قالت المعلمة: تأجل الامتحان!"),
        ("hi", "अध्यापिका ने परीक्षा की बात की।"),
        ("th", "ครูบอกว่าเลื่อนประชุม"),
        ("zh", "老师说考试很难。"),
    ],
)
def test_the_nearest_example_in_other_scripts(
    language: str, text: str, records_of: Any, dataset_of: Any, tmp_path: Path
) -> None:
    training = [
        record.model_copy(update={"input": sentence, "context": (), "leaks": ()})
        for record, sentence in zip(records_of("train", 8), SENTENCES[language], strict=True)
    ]
    test = [records_of("test", 1)[0].model_copy(update={"input": text, "context": (), "leaks": ()})]
    dataset = dataset_of(tmp_path / "dataset", {"train": training, "test": test})
    settings = ["few_shot.shots=1", "few_shot.choose=nearest"]
    recipe = load_recipe("meld", "score", ScoreRecipe, settings).recipe
    assert recipe.few_shot is not None
    ((example,),) = draw_examples(recipe.few_shot, read_task(recipe, dataset), dataset).shown.values()
    assert example.input == SENTENCES[language][4]


@pytest.mark.parametrize("choose", ["balanced", "nearest"])
def test_a_model_is_scored_with_examples(
    choose: str, audited_dataset: Path, tiny_backbone: Path, tmp_path: Path, draw: Any
) -> None:
    settings = ("few_shot.shots=3", f"few_shot.choose={choose}", "max_length=1024")

    def scored(*overrides: str) -> Any:
        folder = tmp_path / str(len(overrides))
        made = score(
            "meld",
            audited_dataset,
            ModelChoice(None, "tiny", tiny_backbone.parent, tmp_path / "cache"),
            folder,
            overrides=(FEW, *overrides),
        )
        return made.folder

    zero, few = scored(), scored(*settings)
    protocol = read_manifest(few, ScoreManifest).figures.protocol
    examples = draw(*settings)
    assert (protocol.shots, protocol.few_shot_rule) == (3, choose)
    assert (protocol.few_shot_ids, protocol.few_shot_sha256) == (
        examples.ids,
        examples.stated["few_shot_sha256"],
    )
    assert read_manifest(zero, ScoreManifest).figures.protocol.shots == 0
    columns = pq.read_table(few / "predictions.parquet").to_pydict()
    assert columns["examples"] == [[one.id for one in examples.shown[name]] for name in columns["id"]]
    without = pq.read_table(zero / "predictions.parquet").to_pydict()
    assert "examples" not in without
    assert columns["score_anger"] != without["score_anger"]


def test_prompts_that_grew_too_long_say_what_to_set(audited_dataset: Path, tiny_backbone: Path) -> None:
    with pytest.raises(DataError, match="set max_length to"):
        score(
            "meld",
            audited_dataset,
            ModelChoice(None, "tiny", tiny_backbone.parent),
            overrides=("few_shot.shots=14", FEW),
        )


def test_the_training_split_is_not_scored_with_examples_of_itself() -> None:
    with pytest.raises(RecipeError, match="training split, which is what is scored"):
        load_recipe("meld", "score", ScoreRecipe, ("few_shot.shots=2", "split=train"))


def test_examples_and_first_records_do_not_depend_on_other_corpora(tmp_path: Path) -> None:
    alone = build_dataset(
        "demo", out=tmp_path / "alone", skip={"emorynlp", "dailydialog", "meisd", "iemocap"}
    )
    together = build_dataset("demo", out=tmp_path / "together")
    found = []
    for built in (alone, together):
        recipe = load_recipe("meld", "score", ScoreRecipe, ["few_shot.shots=5", "max_records=7"]).recipe
        task = read_task(recipe, built.folder)
        assert recipe.few_shot is not None
        examples = draw_examples(recipe.few_shot, task, built.folder)
        found.append((examples.ids, [record.id for record in task.records]))
    assert found[0] == found[1]
