"""A user's table: `recipe new` writes a corpus file and recipes that go the way of all others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dialoguellm_release.cards.dataset import recipe_of
from dialoguellm_release.errors import DataError
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import audit_as_json
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.audit import PartSizes
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.scores import ScoreRecipe
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset
from dialoguellm_release.steps.recipe import DataOptions, NewRecipe, new_recipe

TABLE = """\
dialogue,speaker,text,label,split
a,Alex,"It rained, all day long.",sadness,
a,Robin,Oh no!,surprise,
b/1,Alex,We won!,happiness,train
c,Robin,I see.,neutral,validation
"""


def table(folder: Path, text: str, name: str = "my.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def built(made: NewRecipe, folder: Path) -> StepResult[DatasetManifest]:
    return build_dataset(made.dataset, out=folder / "dataset")


def codes(error: DataError) -> list[tuple[str, str]]:
    """Line and code of each problem."""
    return [(problem.where.rpartition(":")[2], problem.code) for problem in error.problems]


def test_a_table_becomes_records_with_context(tmp_path: Path) -> None:
    made = new_recipe("tiny", table(tmp_path, TABLE), tmp_path / "own")
    assert made.guessed.records == {"train": 3, "validation": 1}
    dataset = built(made, tmp_path).folder
    first, second, third = read_records(dataset, "my", "train")
    assert (first.id, first.context, first.input) == ("my/train/a/0", (), "It rained, all day long.")
    assert second.context == ("Alex: It rained, all day long.",)
    assert (second.speaker, second.output) == ("Robin", "surprise")
    assert third.id == "my/train/b-1/0"
    assert first.instruction.endswith("happiness, sadness, surprise, neutral.")
    assert "context" in second.instruction
    assert [one.input for one in read_records(dataset, "my", "validation")] == ["I see."]
    recipe = load_recipe(str(made.recipe), "adapter", AdapterRecipe).recipe
    parent = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    assert recipe.data.config == "my"
    assert (recipe.lora, recipe.trainer, recipe.backbone) == (parent.lora, parent.trainer, parent.backbone)
    assert check_dataset(dataset) == []


JSON_LINES = """\
{"text": "Stop it!", "label": "anger", "dialogue": 1}

{"text": "Fine.", "label": "neutral", "dialogue": 1}
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my.csv", "Emotion,Utterance,Conversation ID\nanger,Stop it!,1\nneutral,Fine.,1\n"),
        ("my.tsv", "utterance\temotion\tdialog_id\nStop it!\tanger\t1\nFine.\tneutral\t1\n"),
        ("my.jsonl", JSON_LINES),
        ("my.csv", "\ufefftext,label,dialogue\n\nStop it!,anger,1\n\nFine.,neutral,1\n\n"),
    ],
)  # fmt: skip
def test_forms_and_usual_names_of_columns(name: str, text: str, tmp_path: Path) -> None:
    made = new_recipe("tiny", table(tmp_path, text, name), tmp_path / "own")
    first, second = read_records(built(made, tmp_path).folder, "my", "train")
    assert (first.input, first.label, second.input) == ("Stop it!", "anger", "Fine.")
    assert second.context == ("Stop it!",)


def test_a_parquet_table_with_stated_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = {"said": ["Stop it!", "Fine."], "felt": ["anger", "boredom"], "who": ["Kim", None]}
    pq.write_table(pa.table(values), tmp_path / "my.parquet")
    columns = {"text": "said", "label": "felt", "speaker": "who"}
    made = new_recipe("tiny", tmp_path / "my.parquet", tmp_path / "own", options=DataOptions(columns=columns))
    result = built(made, tmp_path)
    assert result.manifest.figures.class_labels == (*LABELS, "boredom")
    first, second = read_records(result.folder, "my", "train")
    assert (first.speaker, second.speaker, second.label) == ("Kim", None, "boredom")


def test_what_is_not_stated_of_two_corpora_is_not_one_licence(tmp_path: Path) -> None:
    for name in ("my 1", "my_2"):
        made = new_recipe("tiny", table(tmp_path, TABLE, f"{name}.csv"), tmp_path / name)
        text = made.corpus.read_text(encoding="utf-8")
        assert text.count(f"id: LicenseRef-{name.translate({32: '-', 95: '-'})}-not-stated\n") == 2


def test_a_name_that_is_taken_or_no_identifier(tmp_path: Path) -> None:
    text = "text,label\nFine.,neutral\n"
    for name, corpus in (("meld.csv", "own_meld"), ("clean.csv", "own_clean"), ("2 x.csv", "table_2_x")):
        made = new_recipe("tiny", table(tmp_path, text, name), tmp_path / corpus)
        assert f"name: {corpus}\n" in made.corpus.read_text(encoding="utf-8")


def test_what_two_dialogues_would_be_called_alike_is_refused(tmp_path: Path) -> None:
    text = "dialogue,text,label\na/b,Hi.,anger\na-b,Ho.,anger\na/b,So.,anger\n"
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, text), tmp_path / "own")
    assert codes(raised.value) == [("3", "corpora.dialogue_id_twice")]


TORN = """\
dialogue,text,label,split
a,Hi.,anger,train
a,Ho.,anger,{split}
b,So.,anger,train
b,Oh.,fear,{split}
"""


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_dialogue_in_several_splits_is_refused(split: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, TORN.format(split=split)), tmp_path / "own")
    (problem,) = raised.value.problems
    assert problem.code == "corpora.dialogue_in_several_splits"
    assert problem.got == f"a (train on line 2, {split} on line 3); b (train on line 4, {split} on line 5)"
    assert not (tmp_path / "own").exists()


def test_the_same_dialogue_in_one_split_is_not_torn(tmp_path: Path) -> None:
    made = new_recipe("tiny", table(tmp_path, TORN.format(split="training")), tmp_path / "own")
    assert made.guessed.records["train"] == 4


def test_text_and_label_are_enough(tmp_path: Path) -> None:
    text = "label,text\nanger,Stop it!\nneutral,Fine.\n"
    made = new_recipe("llama-2-7b", table(tmp_path, text), tmp_path / "own")
    dataset = built(made, tmp_path).folder
    assert [one.context for one in read_records(dataset, "my", "train")] == [(), ()]
    trainer = load_recipe(str(made.recipe), "adapter", AdapterRecipe).recipe.trainer
    assert trainer.eval_steps is None
    assert trainer.num_train_epochs == 5


def test_every_wrong_row_is_named_by_its_line(tmp_path: Path) -> None:
    wrong = "text,label,split\n ,neutral,\nGood.,neutral,later\nShort.\nOh,,\n\nFine.,anger,\n"
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, wrong), tmp_path / "own")
    assert ("4", "table.width") in codes(raised.value)
    wrong = wrong.replace("Short.\n", "")
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, wrong), tmp_path / "own")
    assert sorted(codes(raised.value)) == [
        ("2", "corpora.empty_cell"),
        ("3", "corpora.unknown_split"),
    ]
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("txt,label\na,anger\n", "corpora.no_column"),
        ("", "corpora.empty"),
        ("text,label,emotion\na,anger,fear\n", "corpora.ambiguous_column"),
        ("text,label,label\na,anger,fear\n", "table.columns"),
        ('text,label\n"a,anger\n', "table.csv"),
        ("text,label,split\na,anger,test\n", "corpora.nothing_to_train_on"),
    ],
)
def test_a_wrong_table_is_refused(text: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", table(tmp_path, text), tmp_path / "own")
    assert code in [problem.code for problem in raised.value.problems]


def test_a_table_that_is_missing_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_bytes(b"text,label\n\xff\xfe,anger\n")
    wrong = {"absent.csv": "not_found", "my.csv": "encoding", "my.txt": "format"}
    for name, code in wrong.items():
        with pytest.raises(DataError) as raised:
            new_recipe("tiny", tmp_path / name, tmp_path / "own")
        assert [problem.code for problem in raised.value.problems] == [f"table.{code}"]


def test_an_edited_file_is_not_overwritten(tmp_path: Path) -> None:
    path = table(tmp_path, TABLE)
    made = new_recipe("tiny", path, tmp_path / "own")
    before = {file.name: file.read_bytes() for file in (tmp_path / "own").iterdir()}
    assert new_recipe("tiny", path, tmp_path / "own") == made
    edited = made.recipe.read_text(encoding="utf-8") + "# mine\n"
    made.recipe.write_text(edited, encoding="utf-8")
    table(tmp_path, TABLE + "d,Kim,Stop it.,anger,test\n")
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", path, tmp_path / "own")
    assert {problem.code for problem in raised.value.problems} == {"recipe.exists"}
    assert made.recipe.read_text(encoding="utf-8") == edited
    assert made.corpus.read_bytes() == before[made.corpus.name]
    assert not (tmp_path / "own" / "my-score.yaml").read_text(encoding="utf-8").startswith("# mine")


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
def leaky(tmp_path_factory: pytest.TempPathFactory) -> StepResult[DatasetManifest]:
    """A table of which each part of the ledger has something to say; nobody changes it."""
    folder = tmp_path_factory.mktemp("leaky")
    return built(new_recipe("tiny", table(folder, LEAKY), folder / "own"), folder)


def test_a_table_is_audited_as_a_build_is(leaky: StepResult[DatasetManifest]) -> None:
    assert check_dataset(leaky.folder) == []
    assert leaky.manifest.figures.corpora["my"].parts == {
        "train": PartSizes(clean=2, leaked=2, duplicates=1, conflicts=1),
        "test": PartSizes(clean=1, leaked=1, duplicates=0, conflicts=0),
    }
    leaks = {one.id: one.leaks for one in read_records(leaky.folder, "my", "train")}
    assert {name: splits for name, splits in leaks.items() if splits} == {
        "my/train/a/0": ("my/test",),
        "my/train/a/1": ("my/test",),
    }
    audit = audit_dataset(leaky.folder)
    assert (leaky.folder / AUDIT).read_text(encoding="utf-8") == audit_as_json(audit)
    card = (leaky.folder / "README.md").read_text(encoding="utf-8")
    assert "language:" not in card.split("---")[1]
    assert not re.search(r"\bNone\b(?! is recorded)", card)


def test_its_manifest_holds_no_path(leaky: StepResult[DatasetManifest]) -> None:
    corpus = recipe_of(leaky.manifest, DatasetRecipe).corpora["my"]
    assert corpus.file is None
    assert corpus.entry is not None
    assert corpus.entry.data is None
    assert str(leaky.folder.parent) not in json.dumps(leaky.manifest.model_dump(mode="json"))


def test_a_changed_corpus_file_builds_again(tmp_path: Path) -> None:
    made = new_recipe("tiny", table(tmp_path, TABLE), tmp_path / "own")
    before = built(made, tmp_path)
    assert built(made, tmp_path).was_current
    text = made.corpus.read_text(encoding="utf-8")
    made.corpus.write_text(text.replace("title: my", "title: Mine"), encoding="utf-8")
    after = build_dataset(made.dataset, out=tmp_path / "dataset", replace=True)
    assert not after.was_current
    assert "Mine" in (after.folder / "README.md").read_text(encoding="utf-8")
    assert after.manifest.content_sha256 == before.manifest.content_sha256


def test_it_loads_in_one_line(leaky: StepResult[DatasetManifest], tmp_path: Path) -> None:
    from datasets import load_dataset

    def rows(config: str) -> dict[str, int]:
        found = load_dataset(str(leaky.folder), config, cache_dir=str(tmp_path))
        return {split: one.num_rows for split, one in found.items()}

    assert rows("default") == rows("my") == rows("sft") == {"train": 6, "test": 2}
    assert rows("clean") == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("split", "scored"), [("test", "test"), ("dev", "validation"), ("train", None)]
)  # fmt: skip
def test_the_score_recipe_scores_what_is_held_out(split: str, scored: str | None, tmp_path: Path) -> None:
    text = f"text,label,split\nFine.,anger,\nWell.,fear,{split}\n"
    made = new_recipe("llama-2-7b", table(tmp_path, text), tmp_path / "own")
    if scored is None:
        assert made.score is None
        return
    assert made.score is not None
    recipe = load_recipe(str(made.score), "score", ScoreRecipe).recipe
    trainer = load_recipe("llama-2-7b", "adapter", AdapterRecipe).recipe.trainer
    assert (recipe.corpus, recipe.split, recipe.max_length) == ("my", scored, trainer.max_length)


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
    all_of_it = DataOptions(held_out=0)
    made = new_recipe("tiny", table(tmp_path, f"text,label\n{rows}"), tmp_path / "own", options=all_of_it)
    trained = train_adapter(
        str(made.recipe),
        built(made, tmp_path).folder,
        tmp_path / "adapter",
        backbones=tiny_backbone.parent,
        overrides=["trainer.max_steps=3"],
    )
    assert trained.manifest.figures.records == 18
    assert trained.manifest.figures.dataset_config == "my"
    golden = json.loads((trained.folder / "golden_prompt.json").read_text(encoding="utf-8"))
    assert golden["labels"] == ["happiness", "anger"]


def test_paths_of_the_parent_and_of_the_start_lead_on_from_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("parents", "start"):
        (tmp_path / name).mkdir()
    tiny = (resource_folder("recipes") / "backbones" / "tiny.yaml").read_text(encoding="utf-8")
    (tmp_path / "parents" / "small.yaml").write_text(tiny, encoding="utf-8")
    parent = tmp_path / "parents" / "mine.yaml"
    parent.write_text("extends: adapters/tiny\nbackbone: small.yaml\n", encoding="utf-8")
    made = new_recipe(str(parent), table(tmp_path, TABLE), "own", init_adapter="start")
    monkeypatch.chdir(tmp_path / "own")
    recipe = load_recipe("my.yaml", "adapter", AdapterRecipe).recipe
    assert recipe.backbone == "../parents/small.yaml"
    assert recipe.init_adapter is not None
    assert recipe.init_adapter.path == "../start"
    assert made.recipe == Path("own/my.yaml")
