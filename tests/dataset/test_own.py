"""Data of a user's own: a table, checked row by row, becomes a dataset folder and a recipe that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.errors import DataError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.onward import new_recipe

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
    assert (trained.folder / "README.md").is_file()
