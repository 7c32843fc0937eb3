"""A Space with an app: its adapters, its metadata and its requirements, published and verified."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from dialoguellm_release import __version__
from dialoguellm_release.cards.card import split_card
from dialoguellm_release.errors import MissingExtraError, PublishError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.hub.apps import app_problems, offering
from dialoguellm_release.hub.contents import Source, Sources, space
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.resources import constraints, resource_folder
from dialoguellm_release.schemas.manifests import AdapterManifest, TrainedCorpus, TrainedTask
from dialoguellm_release.schemas.release import AppAdapter, AppAdapters, ReleaseRecipe, SpaceRepository
from dialoguellm_release.steps.predict import serve_app
from dialoguellm_release.steps.release import verify_release
from tests.hub_server.server import HubServer

if TYPE_CHECKING:
    from tests.hub.conftest import Build

APP = "spaces/dialoguellm/emotion_demo"


@pytest.fixture
def app(build: Build, target: Path) -> Path:
    """The app of a release in a folder."""
    recipe = load_recipe("demo", "release", ReleaseRecipe).recipe
    publish_release(recipe, build.path, FolderStore(target))
    return target / APP


def test_the_app_offers_the_adapters_of_its_release_at_their_commits(app: Path, target: Path) -> None:
    store = FolderStore(target)
    state = store.state("dialoguellm/tiny", "v1.0.0")
    assert state
    listed = json.loads((app / "adapters.json").read_text())
    assert listed["adapters"] == [{"adapter": "dialoguellm/tiny", "revision": state.tagged}]
    metadata, _ = split_card((app / "README.md").read_text())
    assert metadata["models"] == ["dialoguellm/tiny", "dialoguellm/tiny-llama"]
    assert metadata["datasets"] == ["dialoguellm/instructions"]


def test_the_app_goes_to_the_hub_as_a_space_of_gradio(build: Build, hub_server: HubServer, run: Any) -> None:
    assert run("publish", "demo", "--from", build.path, "--to", "hub", "--yes").code == 0
    space = hub_server.store.repositories["space", "dialoguellm/emotion_demo"]
    assert space.sdk == "gradio"
    assert run("publish", "demo", "--from", build.path, "--to", "hub", "--yes").code == 0
    assert len(space.commits) == len(hub_server.store.repositories["model", "dialoguellm/tiny"].commits)
    (found,) = verify_release(f"{APP}@v1.0.0")
    assert found.problems == []


def test_its_versions_are_those_that_are_tested_together() -> None:
    folder = resource_folder("spaces") / "emotion_demo"
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert pins.pop("dialoguellm-release[score]") == __version__
    metadata, _ = split_card((folder / "README.md").read_text())
    pins["gradio"] = str(metadata["sdk_version"])
    assert len(pins) > 3
    assert {name: constraints()[name] for name in pins} == pins


CHANGES = (
    ("requirements.txt", "torch==", "torch>=", "requirements.txt", "apps.not_pinned"),
    ("requirements.txt", "torch==2.13.0", "torch", "requirements.txt", "apps.not_pinned"),
    (
        "requirements.txt",
        "torch==2.13.0",
        "torch @ http://localhost/torch",
        "requirements.txt",
        "apps.not_pinned",
    ),
    ("README.md", "sdk: gradio", "sdk: static", "README.md: sdk_version", "apps.sdk"),
    ("README.md", "sdk_version:", "version:", "README.md: sdk_version", "apps.sdk"),
    ("README.md", "title: ", "name: ", "README.md: title", "apps.no_metadata"),
    ("README.md", "app.py\n", "main.py\n", "README.md: app_file", "apps.no_app_file"),
    ("adapters.json", "dialoguellm/tiny", "somebody/tiny", "adapters.json", "apps.other_adapter"),
    ("adapters.json", '"revision"', '"branch"', "adapters.json", "apps.bad_adapters"),
)


def test_an_app_that_would_not_be_the_same_tomorrow_is_found(app: Path) -> None:
    files = {path.name: path.read_text() for path in app.iterdir() if path.is_file()}
    for file, old, new, where, code in CHANGES:
        assert old in files[file]
        changed = {**files, file: files[file].replace(old, new)}
        found = {(one.where, one.code) for one in app_problems(changed, changed.__getitem__)}
        assert found == {(where, code)}, (file, old, new)
    without = {name: text for name, text in files.items() if name != "requirements.txt"}
    assert [one.code for one in app_problems(without, without.__getitem__)] == ["apps.no_requirements"]
    with_rows = {**files, "turns.parquet": ""}
    assert [one.code for one in app_problems(with_rows, with_rows.__getitem__)] == ["apps.data_file"]


def test_a_space_has_a_metric_or_an_app_and_an_app_has_adapters() -> None:
    for metric, app in ((None, None), ("demo", "demo")):
        with pytest.raises(ValidationError, match="either a metric or an app"):
            SpaceRepository(repo_id="somebody/demo", metric=metric, app=app)
    with pytest.raises(ValidationError, match="depends on no adapter"):
        ReleaseRecipe(
            version=1,
            kind="release",
            description="An app alone.",
            tag="v1.0.0",
            changelog="The first release.",
            spaces=(SpaceRepository(repo_id="somebody/demo", app="emotion_demo"),),
        )


def test_an_adapter_of_several_label_spaces_is_offered_once_for_each(build: Build) -> None:
    folder = build.path / "adapters" / "tiny"
    manifest = read_manifest(folder, AdapterManifest)
    label_spaces = {"meld": ("anger", "neutral"), "meisd": ("fear", "neutral")}
    corpora = {name: TrainedCorpus(label_space=one, context_k=1) for name, one in label_spaces.items()}
    task = TrainedTask(corpora=corpora, max_length=64)
    figures = manifest.figures.model_copy(update={"task": task})
    sources = Sources(adapters={"a/b": Source(folder, manifest.model_copy(update={"figures": figures}))})
    plan = offering(space("a/demo", resource_folder("spaces") / "emotion_demo"), ("a/b",), sources)
    listed = AppAdapters.model_validate_json(plan.texts({"a/b": "c" * 40})["adapters.json"])
    assert [(one.name, one.revision, one.corpus) for one in listed.adapters] == [
        ("a/b", "c" * 40, "meld"),
        ("a/b", "c" * 40, "meisd"),
    ]


@pytest.mark.parametrize("change", [{"base_is_folder": True}, {"base_gguf_file": "model.gguf"}])
def test_an_adapter_of_weights_in_a_folder_is_not_offered(build: Build, change: dict[str, object]) -> None:
    folder = build.path / "adapters" / "tiny"
    manifest = read_manifest(folder, AdapterManifest)
    figures = manifest.figures.model_copy(update=change)
    sources = Sources(adapters={"a/b": Source(folder, manifest.model_copy(update={"figures": figures}))})
    with pytest.raises(PublishError) as caught:
        offering(space("a/demo", resource_folder("spaces") / "emotion_demo"), ("a/b",), sources)
    assert [problem.code for problem in caught.value.problems] == ["apps.base_not_on_the_hub"]


def test_the_app_is_served_with_an_adapter_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[AppAdapter]()

    def call(command: list[str], env: dict[str, str]) -> int:
        assert Path(command[-1]).is_file()
        seen.extend(AppAdapters.model_validate_json(Path(env["DLM_APP_ADAPTERS"]).read_bytes()).adapters)
        return 3

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(importlib.util, "find_spec", str)
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert serve_app("tiny", "base") == 3
    assert serve_app("owner/name") == 3
    assert [(one.adapter, one.backbone) for one in seen] == [
        (str(tmp_path / "tiny"), str(tmp_path / "base")),
        ("owner/name", None),
    ]
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(MissingExtraError) as caught:
        serve_app("tiny")
    assert "dialoguellm-release[demo]" in str(caught.value)
