from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dialoguellm_release.errors import PublishError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps, write_manifest
from dialoguellm_release.hub.checks import problems_of
from dialoguellm_release.hub.contents import PlannedFile
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.layout import COUNT_FIGURES, CROISSANT, FIGURE_FILES
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, Manifest, ScoreManifest
from dialoguellm_release.schemas.release import RELEASE_FILE, repository_of
from tests.hub.codes import refuses

if TYPE_CHECKING:
    from tests.hub.conftest import Build


@dataclass(frozen=True)
class Planned:
    """A repository as it would be, were none of the others there."""

    files: Mapping[str, PlannedFile]


def planned(build: Build) -> dict[str, Planned]:
    """The repositories of a release whose gates are all open."""
    plan = plan_release(build.recipe, build.path)
    problems = problems_of(plan.checks)
    if problems:
        raise PublishError(problems)
    return {" ".join(repository_of(one.name)): Planned(one.files_at({})) for one in plan.repositories}


def text_of(repository: Planned, path: str) -> str:
    content = repository.files[path].content
    return content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")


def restamp(folder: Path, model: type[Manifest], **figures: object) -> None:
    """Makes the manifest fit what a test did to a folder."""
    manifest = read_manifest(folder, model)
    changed = json.loads(manifest.model_dump_json())
    changed["figures"] = {**changed.get("figures", {}), **figures}
    changed["outputs"] = [json.loads(stamp.model_dump_json()) for stamp in stamps(folder)]
    if not changed["figures"]:
        del changed["figures"]
    write_manifest(folder, model.model_validate_json(json.dumps(changed)))


def test_every_result_is_of_a_task_of_the_dataset(build: Build) -> None:
    """The Hub looks a `task_id` of `.eval_results` up in the `eval.yaml` of the dataset."""
    plan = planned(build)
    tasks = yaml.safe_load(text_of(plan["dataset dialoguellm/instructions"], "eval.yaml"))["tasks"]
    assert tasks == [{"id": "meld", "config": "meld", "split": "test"}]
    adapter = plan["model dialoguellm/tiny"]
    results = [
        entry
        for path in adapter.files
        if path.startswith(".eval_results/")
        for entry in yaml.safe_load(text_of(adapter, path))
    ]
    assert [one["dataset"]["task_id"] for one in results] == ["meld"]


def test_every_repository_is_planned_with_its_files(build: Build) -> None:
    plan = planned(build)
    assert {name: list(one.files) for name, one in plan.items()} == {
        "dataset dialoguellm/instructions": [
            "LICENSE.md",
            "README.md",
            "croissant.json",
            "data/meld/test-clean-00000.parquet",
            "data/meld/train-clean-00000.parquet",
            "eval.yaml",
            "manifest.json",
            "release.json",
            "sft/test-meld-clean-00000.parquet",
            "sft/train-meld-clean-00000.parquet",
        ],
        "model dialoguellm/tiny-llama": [
            "README.md",
            "config.json",
            "manifest.json",
            "model.safetensors",
            "release.json",
        ],
        "model dialoguellm/tiny": [
            ".eval_results/meld.yaml",
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "manifest.json",
            "release.json",
            "scores/meld-tiny/manifest.json",
            "scores/meld-tiny/scores.json",
        ],
        "space dialoguellm/erc_scores": ["README.md", "erc_scores.py", "release.json"],
    }


def test_a_corpus_that_may_not_be_passed_on_is_left_out_and_said_to_be(build: Build) -> None:
    dataset = planned(build)["dataset dialoguellm/instructions"]
    manifest = DatasetManifest.model_validate_json(text_of(dataset, MANIFEST))
    whole = build.dataset
    assert any("meisd" in file.path for file in whole.outputs)
    assert {file.path for file in manifest.outputs} == set(dataset.files) - {MANIFEST, RELEASE_FILE}
    assert manifest.content_sha256 == whole.content_sha256
    assert manifest.figures == whole.figures
    assert manifest.published is not None
    assert manifest.published.left_out == ("meisd",)
    assert manifest.published.records == {"train": 2, "test": 2}
    assert manifest.published.published_sha256 != whole.content_sha256
    assert "**Not in this copy:** MEISD; see [`LICENSE.md`]" in text_of(dataset, "README.md")


def test_where_nothing_is_left_out_the_copy_has_the_hash_of_the_build(build: Build) -> None:
    folder = build.path / "dataset"
    for path in [*folder.rglob("*meisd*.parquet"), *(folder / "data" / "meisd").iterdir()]:
        path.unlink()
    figures = json.loads(build.dataset.figures.model_dump_json())
    del figures["corpora"]["meisd"]
    restamp(folder, DatasetManifest, **figures)
    dataset = planned(build)["dataset dialoguellm/instructions"]
    manifest = DatasetManifest.model_validate_json(text_of(dataset, MANIFEST))
    assert manifest.published is not None
    assert manifest.published.left_out == ()
    assert "Not in this copy" not in text_of(dataset, "README.md")


def test_pictures_of_counts_leave_and_croissant_tells_of_the_copy_alone(build: Build) -> None:
    folder = build.path / "dataset"
    (folder / "figures").mkdir()
    for path in FIGURE_FILES:
        (folder / path).write_bytes(b"picture")
    (folder / CROISSANT).write_text('{"name": "of the whole build, meisd too"}', encoding="utf-8")
    restamp(folder, DatasetManifest)
    dataset = planned(build)["dataset dialoguellm/instructions"]
    assert set(dataset.files) >= set(FIGURE_FILES)
    croissant = json.loads(text_of(dataset, CROISSANT))
    listed = {entry["@id"] for entry in croissant["distribution"] if entry["@type"] == "cr:FileObject"}
    assert listed == {path for path in dataset.files if path.endswith(".parquet")}
    assert "meisd" not in text_of(dataset, CROISSANT).lower()
    assert all(f"]({path})" in text_of(dataset, "README.md") for path in COUNT_FIGURES)


@pytest.mark.parametrize(
    "path",
    ["data/all.parquet", "sft/train-00000.parquet", "notes.txt", "figures/words.png", "figures/corpora.PNG"],
)
def test_a_file_that_belongs_to_no_corpus_is_refused(build: Build, path: str) -> None:
    (build.path / "dataset" / path).parent.mkdir(exist_ok=True)
    (build.path / "dataset" / path).write_bytes(b"text")
    restamp(build.path / "dataset", DatasetManifest)
    with refuses("licenses.unknown_file") as caught:
        planned(build)
    assert caught.value.problems[0].where == str(build.path / "dataset" / path)


def test_everything_that_is_missing_is_named_at_once_with_its_command(build: Build) -> None:
    shutil.rmtree(build.path)
    shutil.rmtree(build.path.parent / "metrics" / "erc_scores")
    with pytest.raises(PublishError) as caught:
        planned(build)
    root = build.path
    assert [(problem.where, problem.fix) for problem in caught.value.problems] == [
        (f"{root}/dataset", f"dlm-release dataset build paper --sources DIR --out {root}/dataset"),
        (f"{root}/backbones/tiny", "dlm-release adapter train tiny  (it makes its backbone as well)"),
        (f"{root}/adapters/tiny", f"dlm-release adapter train tiny --out {root}/adapters/tiny"),
        (
            f"{root}/scores/meld-tiny",
            f"dlm-release score run meld --adapter {root}/adapters/tiny --out {root}/scores/meld-tiny",
        ),
        ("metrics/erc_scores", None),
    ]


def change_a_byte(folder: Path) -> Path:
    path = folder / "data" / "meld" / "test-clean-00000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def take_a_file(folder: Path) -> Path:
    path = folder / "sft" / "test-meld-clean-00000.parquet"
    path.unlink()
    return path


def add_a_file(folder: Path) -> Path:
    path = folder / "data" / "meld" / "extra.parquet"
    path.write_bytes(b"text")
    return path


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (change_a_byte, "folders.file_changed"),
        (take_a_file, "folders.file_missing"),
        (add_a_file, "folders.file_unknown"),
    ],
)
def test_a_file_that_is_not_as_it_was_made_is_named(
    build: Build, damage: Callable[[Path], Path], code: str
) -> None:
    path = damage(build.path / "dataset")
    with pytest.raises(PublishError) as caught:
        planned(build)
    assert [(problem.where, problem.code) for problem in caught.value.problems] == [(str(path), code)]


@pytest.mark.parametrize("name", ["training_args.bin", "model.PT", "state.pkl"])
def test_what_may_be_a_pickle_is_refused(build: Build, name: str) -> None:
    (build.path / "adapters" / "tiny" / name).write_bytes(b"")
    restamp(build.path / "adapters" / "tiny", AdapterManifest)
    with refuses("checks.pickle", name):
        planned(build)


def empty() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    return len(header).to_bytes(8, "little") + header


def cut_short() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"1234"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (empty(), "checks.empty_weights"),
        (b"\x02" + b"\0" * 7 + b"{}", "checks.empty_weights"),
        (cut_short(), "checks.damaged_weights"),
        (b"", "checks.damaged_weights"),
        (b"\xff" * 20, "checks.damaged_weights"),
    ],
)
def test_an_adapter_without_weights_is_refused(build: Build, content: bytes, code: str) -> None:
    folder = build.path / "adapters" / "tiny"
    (folder / "adapter_model.safetensors").write_bytes(content)
    restamp(folder, AdapterManifest)
    with refuses(code, "adapter_model.safetensors"):
        planned(build)


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ({"dataset_content_sha256": "0" * 64}, "checks.other_dataset"),
        ({"base_content_sha256": "0" * 64}, "checks.other_weights"),
        ({"base": "/somewhere/tiny-llama"}, "checks.unknown_base"),
        ({"base": "someone/else"}, "checks.other_base"),
    ],
)
def test_an_adapter_of_another_origin_is_refused(build: Build, figures: dict[str, Any], code: str) -> None:
    restamp(build.path / "adapters" / "tiny", AdapterManifest, **figures)
    with refuses(code):
        planned(build)


@pytest.mark.parametrize(
    ("init", "published"),
    [
        ({"path": "../with whom/start", "revision": None}, {"path": "start", "revision": None}),
        ({"path": "owner/start", "revision": "0a" * 20}, {"path": "owner/start", "revision": "0a" * 20}),
    ],
)
def test_where_the_adapter_was_that_a_training_began_from_is_not_published(
    build: Build, init: dict[str, Any], published: dict[str, Any]
) -> None:
    folder = build.path / "adapters" / "tiny"
    made = read_manifest(folder, AdapterManifest)
    recipe = made.recipe.model_copy(update={"resolved": {**made.recipe.resolved, "init_adapter": init}})
    write_manifest(folder, made.model_copy(update={"recipe": recipe}))
    text = text_of(planned(build)["model dialoguellm/tiny"], MANIFEST)
    written = AdapterManifest.model_validate_json(text)
    assert written.recipe.resolved["init_adapter"] == published
    assert (written.content_sha256, written.figures) == (made.content_sha256, made.figures)
    assert "with whom" not in text


@pytest.mark.parametrize(
    ("part", "changed", "name"),
    [
        ("system", {"adapter_content_sha256": "0" * 64}, "adapter"),
        ("system", {"adapter_content_sha256": None}, "adapter"),
        ("protocol", {"dataset_content_sha256": "0" * 64}, "dataset"),
        ("protocol", {"prompt_sha256": "0" * 64}, "prompt"),
        ("system", {"base": "someone/else"}, "base"),
        ("system", {"base_content_sha256": None}, "base's content"),
    ],
)
def test_scores_of_something_else_are_refused(
    build: Build, part: str, changed: dict[str, Any], name: str
) -> None:
    folder = build.path / "scores" / "meld-tiny"
    stamp = getattr(read_manifest(folder, ScoreManifest).figures, part).model_dump(mode="json")
    restamp(folder, ScoreManifest, **{part: {**stamp, **changed}})
    with pytest.raises(PublishError) as caught:
        planned(build)
    (problem,) = caught.value.problems
    assert problem.code == "checks.score_of_another"
    assert name in problem.what


@pytest.mark.parametrize(
    ("body", "code"),
    [("# TODO", "card.placeholder"), ("[It](it.md)", "card.broken_link")],
)
def test_a_card_that_is_not_fit_is_refused(build: Build, metrics: Path, body: str, code: str) -> None:
    card = f"---\ntitle: ERC scores\nsdk: gradio\n---\n{body}\n"
    (metrics / "erc_scores" / "README.md").write_text(card, encoding="utf-8")
    with pytest.raises(PublishError) as caught:
        planned(build)
    found = [(problem.where, problem.code) for problem in caught.value.problems]
    assert ("spaces/dialoguellm/erc_scores: README.md:8", code) in found
