"""Which other corpora a dataset has changes neither an adapter nor what is said of its score (case E2)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from dialoguellm_release import records
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, file_problems, read_manifest
from dialoguellm_release.hub.checks import WEIGHTS
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.score import ModelChoice, score
from dialoguellm_release.training.data import drawn_records

SETTINGS = ("trainer.max_steps=3", "data.max_records=40")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's dataset with two corpora, and with one."""
    folder = tmp_path_factory.mktemp("datasets")
    both = build_dataset("demo", out=folder / "both", skip=("dailydialog", "meisd", "iemocap"))
    one = build_dataset("demo", out=folder / "one", skip=("emorynlp", "dailydialog", "meisd", "iemocap"))
    assert both.manifest.content_sha256 != one.manifest.content_sha256
    return both.folder, one.folder


def leak_policy(adapter: Path, dataset: Path, backbones: Path) -> str | None:
    """What a score of the adapter on MELD's test split says of training records that leak."""
    work = adapter.parent
    model = ModelChoice(adapter, backbones=backbones, cache=work / "cache")
    made = score("meld", dataset, model, work / f"{adapter.name}-score", overrides=["max_records=4"])
    return made.manifest.figures.protocol.leak_policy


@pytest.fixture(scope="module")
def of_one(
    datasets: tuple[Path, Path], tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> StepResult[AdapterManifest]:
    """Trained on MELD, from the dataset of one corpus; nobody changes it."""
    return train_into(tmp_path_factory.mktemp("of_one") / "adapter", datasets[1], tiny_backbone)


def test_the_same_records_give_the_same_adapter(
    datasets: tuple[Path, Path], of_one: StepResult[AdapterManifest], tiny_backbone: Path, tmp_path: Path
) -> None:
    adapters = [train_into(tmp_path / "both", datasets[0], tiny_backbone), of_one]
    both, one = (adapter.manifest for adapter in adapters)
    assert both.content_sha256 == one.content_sha256
    assert both.figures.records_sha256 == one.figures.records_sha256
    assert both.figures.dataset_content_sha256 != one.figures.dataset_content_sha256

    for adapter in adapters:
        assert leak_policy(adapter.folder, datasets[1], tiny_backbone.parent) == "kept in training"


def train_into(folder: Path, dataset: Path, backbone: Path, *settings: str) -> StepResult[AdapterManifest]:
    keys = {one.partition("=")[0] for one in settings}
    overrides = [*(one for one in SETTINGS if one.partition("=")[0] not in keys), *settings]
    return train_adapter("tiny", dataset, folder, backbones=backbone.parent, overrides=overrides)


@pytest.mark.parametrize(
    "settings", [(), ("data.config=meld", "trainer.eval_steps=2", "data.max_validation_records=4")]
)
def test_an_adapter_stays_current_when_other_corpora_change(
    datasets: tuple[Path, Path],
    of_one: StepResult[AdapterManifest],
    tiny_backbone: Path,
    tmp_path: Path,
    settings: tuple[str, ...],
) -> None:
    both, one = datasets
    if settings:
        first = train_into(tmp_path / "adapter", one, tiny_backbone, *settings)
    else:
        first = replace(of_one, folder=tmp_path / "adapter")
        shutil.copytree(of_one.folder, first.folder)
    weights = (first.folder / WEIGHTS).read_bytes()
    again = train_into(tmp_path / "adapter", both, tiny_backbone, *settings)
    assert again.was_current
    restated = first.manifest.figures.model_copy(
        update={"dataset_content_sha256": read_manifest(both, DatasetManifest).content_sha256}
    )
    assert again.manifest.figures == restated
    assert again.manifest.content_sha256 == first.manifest.content_sha256
    assert read_manifest(again.folder, AdapterManifest) == again.manifest
    assert not list(file_problems(again.folder, again.manifest))
    assert (again.folder / WEIGHTS).read_bytes() == weights
    manifest = (again.folder / MANIFEST).read_bytes()
    assert train_into(tmp_path / "adapter", both, tiny_backbone, *settings).was_current
    assert (again.folder / MANIFEST).read_bytes() == manifest


@pytest.mark.parametrize(
    ("settings", "split"),
    [
        (("data.config=default", "data.max_records=null"), "train"),
        (("data.config=meld", "trainer.eval_steps=2", "data.max_validation_records=null"), "validation"),
    ],
)
def test_an_adapter_is_not_current_when_its_own_records_change(
    datasets: tuple[Path, Path],
    tiny_backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    split: Split,
) -> None:
    both, one = datasets
    train_into(tmp_path / "adapter", one, tiny_backbone, *settings)
    if split == "validation":
        read = records.read_records
        without = lambda *asked: islice(read(*asked), 1 if asked[2] == split else 0, None)  # noqa: E731
        monkeypatch.setattr("dialoguellm_release.training.data.read_records", without)
    with pytest.raises(DataError) as raised:
        train_into(tmp_path / "adapter", both, tiny_backbone, *settings)
    assert raised.value.problems[0].code == "step.finished_work"
    assert f"another {split} records" in raised.value.problems[0].what


def test_other_records_are_another_training(
    datasets: tuple[Path, Path], tiny_backbone: Path, tmp_path: Path
) -> None:
    adapter = train_adapter(
        "tiny",
        datasets[0],
        tmp_path / "adapter",
        backbones=tiny_backbone.parent,
        overrides=[*SETTINGS, "data.config=emorynlp"],
    )
    assert leak_policy(adapter.folder, datasets[1], tiny_backbone.parent) == "trained on another dataset"


def test_fewer_records_come_from_every_corpus_and_are_drawn_by_the_seed(datasets: tuple[Path, Path]) -> None:
    every = list(read_records(datasets[0], "default", "train"))

    def drawn(*settings: str) -> list[Record]:
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, ["data.config=default", *settings]).recipe
        return list(drawn_records(datasets[0], recipe, "train"))

    some = drawn("data.max_records=30")
    assert len(some) == 30
    assert {record.corpus for record in some} == {record.corpus for record in every} == {"meld", "emorynlp"}
    assert some == [record for record in every if record in some], "in their order"
    assert drawn("data.max_records=30") == some
    assert drawn("data.max_records=30", "seed=99") != some
    assert drawn("data.max_records=100000") == drawn() == every
