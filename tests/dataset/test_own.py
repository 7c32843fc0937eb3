"""Data of a user's own: a table, checked row by row, becomes a dataset folder and a recipe that trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import audit_as_json, audit_figures
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.counts import PartSizes
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import audit_dataset, check_dataset
from dialoguellm_release.steps.onward import NewRecipe, new_recipe

TABLE = """\
dialogue,speaker,text,label,split
a,Alex,"It rained, all day long.",sadness,
a,Robin,Oh no!,surprise,
b/1,Alex,We won!,happiness,train
c,Robin,I see.,neutral,validation
"""


def table(folder: Path, text: str) -> Path:
    path = folder / "my.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_becomes_records_with_context(tmp_path: Path) -> None:
    made = new_recipe("tiny", table(tmp_path, TABLE), tmp_path / "own")
    first, second, third = read_records(made.dataset, "own", "train")
    assert (first.id, first.context, first.input) == ("own/train/a/0", (), "It rained, all day long.")
    assert second.context == ("Alex: It rained, all day long.",)
    assert (second.speaker, second.output) == ("Robin", "surprise")
    assert third.id == "own/train/b-1/0"
    assert first.instruction.endswith("happiness, sadness, surprise, neutral.")
    assert "context" in second.instruction
    assert [one.input for one in read_records(made.dataset, "own", "validation")] == ["I see."]
    recipe = load_recipe(str(made.recipe), "adapter", AdapterRecipe).recipe
    parent = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    assert recipe.data.config == "own"
    assert (recipe.lora, recipe.trainer, recipe.backbone) == (parent.lora, parent.trainer, parent.backbone)


def test_what_two_dialogues_would_be_called_alike_is_refused(tmp_path: Path) -> None:
    text = "dialogue,text,label\na/b,Hi.,anger\na-b,Ho.,anger\n,Hm.,fear\nrow-3,Hm.,fear\na/b,So.,anger\n"
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, text), tmp_path / "own")
    assert [(problem.where.rpartition(":")[2], problem.got) for problem in raised.value.problems] == [
        ("3", "a-b"),
        ("5", "row-3"),
    ]
    assert "dialogue row-3 would have the id of dialogue without a name" in str(raised.value)


def test_text_and_label_are_enough(tmp_path: Path) -> None:
    text = "label,text\nanger,Stop it!\nneutral,Fine.\n"
    made = new_recipe("llama-2-7b", table(tmp_path, text), tmp_path / "own")
    assert [one.context for one in read_records(made.dataset, "own", "train")] == [(), ()]
    trainer = load_recipe(str(made.recipe), "adapter", AdapterRecipe).recipe.trainer
    assert trainer.eval_steps is None
    assert trainer.num_train_epochs == 5


def test_every_wrong_row_is_named_by_its_line(tmp_path: Path) -> None:
    wrong = (
        "text,label,split\nFine.,joy,\n ,neutral,\nGood.,neutral,dev\nWell.,happines,\nShort.\nOh,anger,\n"
    )
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, wrong), tmp_path / "own")
    found = [(problem.where.rpartition(":")[2], problem.what) for problem in raised.value.problems]
    assert found == [
        ("2", "label is not one of the vocabulary"),
        ("3", "text is empty"),
        ("4", "split is none"),
        ("5", "label is not one of the vocabulary"),
        ("6", "has more or fewer cells than the header"),
    ]
    assert raised.value.problems[3].fix == "did you mean happiness?"
    assert not (tmp_path / "own" / "dataset").exists()
    many = "text,label\n" + "a,b\n" * 50
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, many), tmp_path / "own")
    assert len(raised.value.problems) == 21
    assert raised.value.problems[-1].what == "30 rows more are wrong"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("txt,label\na,anger\n", "has no column text; is it txt\\?"),
        ("", "has no column text"),
        ("text,label,speeker\na,anger,b\n", "has a column speeker; is it speaker\\?"),
        ("text,label,label\na,anger,fear\n", "has a column twice"),
        ('text,label\n"a,anger\n', "is not CSV"),
        ("text,label,split\na,anger,test\n", "has no row to train on"),
    ],
)
def test_a_wrong_table_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        new_recipe("tiny", table(tmp_path, text), tmp_path / "own")


def test_a_table_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        new_recipe("tiny", tmp_path / "absent.csv", tmp_path / "own")
    (tmp_path / "my.csv").write_bytes(b"text,label\n\xff\xfe,anger\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        new_recipe("tiny", tmp_path / "my.csv", tmp_path / "own")


@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from([*LABELS, "", "joy"])), max_size=6))
def test_whatever_stands_in_it_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    import csv
    import io

    from dialoguellm_release.dataset.own import own_dialogues

    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *rows])
    path = tmp_path_factory.mktemp("own") / "my.csv"
    try:
        path.write_text(file.getvalue(), encoding="utf-8", newline="")
    except UnicodeEncodeError:
        return
    right = [(text.strip(), label) for text, label in rows if text.strip() and label in LABELS]
    try:
        found = [turn for one in own_dialogues(path)["train"] for turn in one.utterances]
    except DataError:
        assert len(right) < len(rows) or not rows or "\0" in file.getvalue() or "\r" in file.getvalue()
        return
    assert [(turn.text, turn.label) for turn in found] == right


LEAKY = """\
dialogue,speaker,text,label,split
a,Alex,It rained all day and we stayed at home.,sadness,
a,Robin,What bad luck!,surprise,
b,Alex,We won the match in the last minute!,happiness,
c,Robin,We won the match in the last minute!,happiness,
d,Kim,Stop it.,anger,
e,Kim,Stop it.,neutral,
t,Alex,"It rained all day, and we stayed at home!",sadness,test
u,Robin,How nice.,happiness,test
"""


@pytest.fixture(scope="session")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> NewRecipe:
    """A table of which each part of the ledger has something to say; nobody changes it."""
    folder = tmp_path_factory.mktemp("leaky")
    return new_recipe("tiny", table(folder, LEAKY), folder / "own")


def test_a_table_is_audited_as_a_build_is(leaky: NewRecipe) -> None:
    assert check_dataset(leaky.dataset) == []
    figures = leaky.manifest.figures
    own = figures.corpora["own"]
    assert own.parts == {
        "train": PartSizes(clean=2, leaked=2, duplicates=1, conflicts=1),
        "test": PartSizes(clean=1, leaked=1, duplicates=0, conflicts=0),
    }
    leaks = {one.id: one.leaks for one in read_records(leaky.dataset, "own", "train")}
    assert {name: told for name, told in leaks.items() if told} == {
        "own/train/a/0": ("own/test",),
        "own/train/a/1": ("own/test",),
    }
    assert [one.id for one in read_records(leaky.dataset, "clean", "train")] == [
        "own/train/b/0",
        "own/train/d/0",
    ]
    audit = audit_dataset(leaky.dataset)
    assert (leaky.dataset / AUDIT).read_text(encoding="utf-8") == audit_as_json(audit)
    assert figures.audit == audit_figures(audit)
    assert [(row.held_out, row.training, row.utterances_found) for row in audit.overlaps] == [
        ("own/test", "own/train", 1)
    ]
    assert figures.statistics["own"]["train"].dialogue_lengths.maximum == 2
    card = (leaky.dataset / "README.md").read_text(encoding="utf-8")
    assert "| train | 5 | 6 | 2 | 1 | 1 | 2 |" in card
    assert "| own/test | own/train | 1 | 1 (100.0 %) |" in card


def test_it_loads_in_one_line(leaky: NewRecipe, tmp_path: Path) -> None:
    from datasets import load_dataset

    def rows(config: str) -> dict[str, int]:
        found = load_dataset(str(leaky.dataset), config, cache_dir=str(tmp_path))
        return {split: one.num_rows for split, one in found.items()}

    assert rows("default") == rows("own") == rows("sft") == {"train": 6, "test": 2}
    assert rows("clean") == {"train": 2, "test": 2}
    prompts = load_dataset(str(leaky.dataset), "sft", split="test", cache_dir=str(tmp_path))
    assert {(one["id"], one["completion"]) for one in prompts} == {
        ("own/test/t/0", " sadness"),
        ("own/test/u/0", " happiness"),
    }


def test_folder_and_process_leave_no_trace(leaky: NewRecipe, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = table(tmp_path / "elsewhere", LEAKY)
    code = (
        "import sys; from pathlib import Path; from dialoguellm_release.steps.onward import new_recipe\n"
        "new_recipe('tiny', Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=environment)
    assert read_manifest(tmp_path / "out" / "dataset", DatasetManifest) == leaky.manifest


@pytest.mark.parametrize(
    ("split", "scored"), [("test", "test"), ("validation", "validation"), ("train", None)]
)
def test_the_score_recipe_scores_what_is_held_out(split: str, scored: str | None, tmp_path: Path) -> None:
    text = f"text,label,split\nFine.,anger,\nWell.,fear,{split}\n"
    made = new_recipe("llama-2-7b", table(tmp_path, text), tmp_path / "own")
    if scored is None:
        assert made.score is None
        return
    assert made.score is not None
    recipe = load_recipe(str(made.score), "score", ScoreRecipe).recipe
    trainer = load_recipe("llama-2-7b", "adapter", AdapterRecipe).recipe.trainer
    assert (recipe.corpus, recipe.split, recipe.max_length) == ("own", scored, trainer.max_length)


def test_who_trains_on_the_clean_part_still_does(tmp_path: Path) -> None:
    parent = tmp_path / "clean.yaml"
    parent.write_text(
        f"extends: {resource_folder('recipes') / 'adapters' / 'tiny.yaml'}\ndata: {{config: clean}}\n"
    )
    made = new_recipe(str(parent), table(tmp_path, TABLE), tmp_path / "own")
    assert load_recipe(str(made.recipe), "adapter", AdapterRecipe).recipe.data.config == "clean"


def test_a_new_recipe_trains(tmp_path: Path, tiny_backbone: Path) -> None:
    rows = "".join(
        f"I am {word} number {index}.,{label}\n"
        for index in range(9)
        for word, label in (("glad", "happiness"), ("cross", "anger"))
    )
    made = new_recipe("tiny", table(tmp_path, f"text,label\n{rows}"), tmp_path / "own")
    trained = train_adapter(
        str(made.recipe),
        made.dataset,
        tmp_path / "adapter",
        backbones=tiny_backbone.parent,
        overrides=["trainer.max_steps=3"],
    )
    assert trained.manifest.figures.records == 18
    assert trained.manifest.figures.dataset_config == "own"
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert "license_name: see-base-model-and-data" in card
    assert "own `LicenseRef-own`" in card
    assert 'labels = ["happiness", "anger"]' in card
