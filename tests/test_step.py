"""The step engine: what it compares, what it says, what it replaces; and that every step stands on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release import resources, step, steps
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps
from dialoguellm_release.resources import record, recording
from dialoguellm_release.schemas.manifests import BackboneManifest, RecipeStamp
from dialoguellm_release.step import Inputs, Output, StepResult, folder_name, run_step
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.compare import check_claims, compare_scores, score_table
from dialoguellm_release.steps.dataset import build_dataset, check_dataset
from dialoguellm_release.steps.model import build_backbone, export_training, merge_adapter
from dialoguellm_release.steps.release import check_cards, render_card
from dialoguellm_release.steps.score import (
    ModelChoice,
    score,
    score_baseline,
    score_each_way,
    score_predictions,
)


def stamp_of(name: str = "one", **values: Any) -> RecipeStamp:
    return RecipeStamp(name=name, sha256=f"{hash(str(values)) & (1 << 63) - 1:064x}", resolved=values)


@dataclass
class Toy:
    """A step whose function writes a file, and counts how often it does."""

    out: Path
    made: int = 0
    finished: int = 0
    resource: Path | None = None
    template: Path | None = None

    def run(self, recipe: RecipeStamp | None = None, **options: Any) -> StepResult[BackboneManifest]:
        inputs = {name: options.pop(name) for name in ("folders", "settings", "sources") if name in options}
        files = options.pop("files", ())

        def make(folder: Path) -> Output:
            self.made += 1
            text = record(self.resource).read_text() if self.resource else ""
            (folder / "weights.txt").write_text(text)
            return Output("0" * 64, {"parameters": 1}, files)

        def finish(folder: Path, manifest: BackboneManifest) -> None:
            self.finished += 1
            assert [file.path for file in manifest.outputs if file.path != "README.md"] == ["weights.txt"]
            text = record(self.template).read_text() if self.template else ""
            (folder / "README.md").write_text(text)

        with recording():
            if self.resource:
                record(self.resource)
            return run_step(
                BackboneManifest,
                self.out,
                Inputs(recipe or stamp_of(seed=1), packages=("pydantic",), **inputs),
                make,
                finish,
                **options,
            )


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "out")


def test_the_manifest_is_complete_and_a_second_run_does_nothing(toy: Toy) -> None:
    first = toy.run(settings={"server address": "a"}, folders={"dataset": "1" * 64})
    assert not first.was_current
    manifest = read_manifest(toy.out, BackboneManifest)
    assert manifest == first.manifest
    assert manifest.outputs == stamps(toy.out)
    assert manifest.settings == {"server address": "a"}
    assert set(manifest.created_by) == {"dialoguellm-release", "pydantic"}
    second = toy.run(settings={"server address": "a"}, folders={"dataset": "1" * 64})
    assert second.was_current
    assert (toy.made, toy.finished) == (1, 1)


def test_what_differs_is_said_in_plain_words(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.resource = toy.out.with_name("words.txt")
    toy.resource.write_text("one")
    toy.run(folders={"dataset": "1" * 64})
    path = toy.out / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["created_by"]["pydantic"] = "1.0"
    path.write_text(json.dumps(manifest))
    toy.resource.write_text("two")
    toy.run(stamp_of(seed=2), folders={"dataset": "2" * 64})
    said = capsys.readouterr().err
    assert "recipe seed: 1 -> 2" in said
    assert "another dataset (111111111111 -> 222222222222)" in said
    assert "words.txt changed" in said
    assert "pydantic: 1.0 -> 2" in said


def test_a_comment_in_a_yaml_resource_changes_nothing(toy: Toy) -> None:
    toy.resource = toy.out.with_name("corpus.yaml")
    toy.resource.write_text("labels: [joy]\n")
    toy.run()
    toy.resource.write_text("# which labels\nlabels:\n  - joy\n")
    assert toy.run().was_current
    toy.resource.write_text("labels: [anger]\n")
    assert not toy.run().was_current


def test_a_changed_template_renders_the_card_and_makes_nothing(toy: Toy, tmp_path: Path) -> None:
    toy.template = tmp_path / "card.jinja"
    toy.template.write_text("old")
    toy.run()
    toy.template.write_text("new")
    again = toy.run()
    assert not again.was_current
    assert (toy.made, toy.finished) == (1, 2)
    assert (toy.out / "README.md").read_text() == "new"
    assert again.manifest.outputs == stamps(toy.out)


def test_native_files_count_by_content(toy: Toy, tmp_path: Path) -> None:
    from dialoguellm_release.folders import stamp

    sources = tmp_path / "native"
    sources.mkdir()
    (sources / "a.csv").write_text("text")
    files = (stamp(sources / "a.csv", sources),)
    toy.run(sources=sources, files=files)
    assert toy.run(sources=sources, files=files).was_current
    (sources / "a.csv").write_text("TEXT")
    assert not toy.run(sources=sources, files=files).was_current
    (sources / "a.csv").unlink()
    assert not toy.run(sources=sources, files=files).was_current


@pytest.mark.parametrize("change", ["edit", "remove", "add"])
def test_a_damaged_folder_is_made_again(toy: Toy, change: str) -> None:
    toy.run()
    if change == "edit":
        (toy.out / "weights.txt").write_text("other")
    elif change == "remove":
        (toy.out / "weights.txt").unlink()
    else:
        (toy.out / "more.txt").write_text("more")
    assert not toy.run().was_current
    assert toy.run().was_current


def test_another_request_is_not_replaced_unless_told(toy: Toy) -> None:
    toy.run(settings={"skipped": ["a"]})
    before = (toy.out / MANIFEST).read_bytes()
    for recipe, skipped in ((stamp_of("two", seed=1), ["a"]), (stamp_of(seed=1), [])):
        with pytest.raises(DataError) as raised:
            toy.run(recipe, settings={"skipped": skipped}, again=True)
        assert raised.value.problems[0].code == "step.finished_work"
    assert (toy.out / MANIFEST).read_bytes() == before
    assert not toy.run(settings={"skipped": []}, replace=True).was_current


def test_the_same_request_with_other_inputs_is_made_again(toy: Toy) -> None:
    toy.run(folders={"dataset": "1" * 64})
    assert not toy.run(folders={"dataset": "2" * 64}).was_current
    assert not toy.run(stamp_of(seed=2), folders={"dataset": "2" * 64}).was_current


def test_again_makes_what_is_current(toy: Toy) -> None:
    toy.run()
    assert not toy.run(again=True).was_current
    assert toy.made == 2


def test_a_failure_leaves_the_old_folder(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.run()
    before = stamps(toy.out)
    monkeypatch.setattr(step, "write_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.run(again=True)
    assert stamps(toy.out) == before


def test_changed_settings_enter_the_default_name() -> None:
    assert folder_name("tiny") == "tiny"
    assert folder_name("tiny", ["trainer.max_steps=5", "a=b/c"]) == "tiny-a=b-c-trainer.max_steps=5"
    long = folder_name("tiny", [f"description={'x' * 300}"])
    assert len(long) <= 100
    assert long != folder_name("tiny", [f"description={'x' * 301}"])


def test_a_result_is_short_to_print(toy: Toy) -> None:
    assert repr(toy.run()) == f"StepResult({toy.out}: backbone, new, content 000000000000)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StepResult[Any]]]:
    """Every step, run in one working directory into its default folders."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield {name: run() for name, run in STEPS.items()}


FEW = ["intervals.resamples=20", "max_records=8"]
MODEL = ModelChoice("build/adapters/tiny-trainer.max_steps=2")
STEPS: dict[str, Callable[..., StepResult[Any]]] = {
    "dataset": lambda **told: build_dataset("demo", **told),
    "backbone": lambda **told: build_backbone("tiny", **told),
    "adapter": lambda **told: train_adapter("tiny", overrides=["trainer.max_steps=2"], **told),
    "merged": lambda **told: merge_adapter(Path(str(MODEL.adapter)), **told),
    "export": lambda **told: export_training("tiny", "trl", **told),
    "score": lambda **told: score("meld", model=MODEL, overrides=FEW, **told),
    "scorer": lambda **told: score_each_way(
        "meld", ["first_token"], model=MODEL, out="build/each", overrides=FEW, **told
    )["first_token"],
    "baseline": lambda **told: score_baseline("meld", "majority", overrides=FEW, **told),
    "predictions": lambda **told: score_predictions(
        "meld",
        "build/scores/meld-intervals.resamples=20-max_records=8-majority/predictions.parquet",
        overrides=FEW,
        **told,
    ),
}


class Rebuilt(Exception):
    """Raised in place of making a folder."""


def _rebuilt(*_: Any) -> Any:
    raise Rebuilt


@pytest.mark.parametrize("name", STEPS)
def test_the_second_run_of_every_step_does_nothing(
    made: dict[str, StepResult[Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not made[name].was_current
    monkeypatch.setattr(step, "staged", _rebuilt)
    second = STEPS[name]()
    assert second.was_current
    assert second.manifest == made[name].manifest


@pytest.mark.parametrize("name", STEPS)
def test_every_declared_input_of_every_step_counts(
    made: dict[str, StepResult[Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "staged", _rebuilt)
    # `score_each_way` asks its model before it comes to a folder.
    monkeypatch.setattr(steps.score, "score_model", lambda *_, **__: [("first_token", None)])
    path = made[name].folder / MANIFEST
    whole = path.read_text(encoding="utf-8")
    flipped = 0
    try:
        for group in ("folders", "resources", "rendered_with", "settings", "created_by"):
            for key in json.loads(whole)[group]:
                data = json.loads(whole)
                data[group][key] = "f" * 64
                path.write_text(json.dumps(data), encoding="utf-8")
                with pytest.raises(Rebuilt):
                    STEPS[name](replace=True)
                flipped += 1
        data = json.loads(whole)
        data["recipe"]["sha256"], data["recipe"]["name"] = "f" * 64, "other"
        path.write_text(json.dumps(data), encoding="utf-8")
        with pytest.raises(Rebuilt):
            STEPS[name](replace=True)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert flipped >= 3
    assert json.loads(whole)["created_by"]


def test_every_reader_reads_what_every_step_made(made: dict[str, StepResult[Any]]) -> None:
    """Case E4: an export or a merged model in the same folder stopped the table of the claims."""
    report = check_claims(Path("build"))
    assert set(report.claims) == set(report.verdicts)
    scores = [made[name].folder for name in ("score", "baseline", "predictions")]
    assert {column.corpus for column in score_table(scores).columns} == {"meld"}
    assert compare_scores(scores[0], scores[1]).first.records == 8
    assert check_dataset(made["dataset"].folder) == []
    assert not [problem for card in check_cards([made["dataset"].folder]) for problem in card.problems]
    for name in ("dataset", "backbone", "adapter", "score", "baseline", "predictions"):
        assert render_card(made[name].folder).text
    for result in made.values():
        assert read_manifest(result.folder, type(result.manifest)) == result.manifest


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the bundled files, which a test may edit."""
    for name, folder in resources._CHECKOUT_FOLDERS.items():
        if name != "synthetic_corpora":
            shutil.copytree(resources.resource_folder(name), tmp_path / "house" / folder)
    synthetic = resources.resource_folder("synthetic_corpora")
    (tmp_path / "house" / "tests").mkdir()
    (tmp_path / "house" / "tests" / "corpora").symlink_to(synthetic)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "house" / "dialoguellm_release")
    return tmp_path / "house"


def test_an_edited_corpus_file_builds_the_dataset_again(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case E1: from the same recipe came other data, and the folder was called current."""
    out = tmp_path / "dataset"
    first = build_dataset("demo", out=out)
    corpus = bundled / "recipes" / "corpora" / "meld.yaml"
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(f"# A comment.\n{text}", encoding="utf-8")
    assert build_dataset("demo", out=out).was_current
    corpus.write_text(text.replace("joy: happiness", "joy: surprise"), encoding="utf-8")
    second = build_dataset("demo", out=out)
    assert not second.was_current
    assert second.manifest.content_sha256 != first.manifest.content_sha256
    assert "recipes/corpora/meld.yaml changed" in capsys.readouterr().err


def test_a_recipe_that_names_files_beside_it_is_the_same_from_any_directory(
    tmp_path: Path,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(tiny_backbone, tmp_path / "backbones" / "tiny")
    folder = tmp_path / "recipes"
    folder.mkdir()
    for kind, name in (("prompts", "dialogue-v1"), ("backbones", "tiny")):
        shutil.copy(resources.resource_folder("recipes") / kind / f"{name}.yaml", folder)
    dataset, adapter = folder / "mine.yaml", folder / "adapter.yaml"
    dataset.write_text("extends: dataset/demo\nprompt: dialogue-v1.yaml\n")
    adapter.write_text(
        "extends: adapter/tiny\nprompt: dialogue-v1.yaml\nbackbone: tiny.yaml\ntrainer: {max_steps: 2}\n"
    )

    def made_in(place: Path) -> list[bool]:
        place.mkdir(exist_ok=True, parents=True)
        monkeypatch.chdir(place)
        built = build_dataset(dataset, out=tmp_path / "dataset")
        trained = train_adapter(adapter, built.folder, tmp_path / "adapter", backbones=tmp_path / "backbones")
        exported = export_training(
            adapter, "trl", built.folder, tmp_path / "export", backbones=tmp_path / "backbones"
        )
        return [built.was_current, trained.was_current, exported.was_current]

    assert made_in(tmp_path) == [False, False, False]
    assert made_in(tmp_path / "some" / "where" / "else") == [True, True, True]
    prompt = folder / "dialogue-v1.yaml"
    text = prompt.read_text(encoding="utf-8")
    prompt.write_text(text.replace("instruction: >-\n  ", "instruction: >-\n  Now: "), encoding="utf-8")
    assert prompt.read_text(encoding="utf-8") != text
    capsys.readouterr()
    assert not build_dataset(dataset, out=tmp_path / "dataset").was_current
    assert "recipe own_prompt.instruction: " in capsys.readouterr().err


@pytest.mark.parametrize("template", ["dataset_cards", "recipes/prompts/dialogue-v1.yaml"])
def test_an_edited_template_and_an_edited_prompt_count(bundled: Path, tmp_path: Path, template: str) -> None:
    out = tmp_path / "dataset"
    first = build_dataset("demo", out=out)
    path = bundled / template
    if path.is_dir():
        path = next(one for one in sorted(path.iterdir()) if "## " in one.read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("## ", "##  ", 1).replace("instruction: >-\n  ", "instruction: >-\n  Now: "),
        encoding="utf-8",
    )
    assert path.read_text(encoding="utf-8") != text
    second = build_dataset("demo", out=out)
    assert not second.was_current
    is_the_same = second.manifest.content_sha256 == first.manifest.content_sha256
    assert is_the_same == (template == "dataset_cards")
