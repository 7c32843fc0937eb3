"""A build folder as the steps leave it: small, but real Parquet, weights, stamps and hashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import JsonValue

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.dataset.records import (
    RowWriter,
    record_table,
    sft_table,
)
from dialoguellm_release.folders import combined_sha256, read_manifest, sha256_of_text, stamps, write_manifest
from dialoguellm_release.hub import plan
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.layout import DataFile
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.record_columns import columns_of, record_digests, record_schema, sft_schema
from dialoguellm_release.records import content_sha256
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.manifests import (
    AdapterFigures,
    AdapterManifest,
    BackboneManifest,
    RecipeStamp,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.release import ReleaseRecipe
from dialoguellm_release.schemas.scores import ScoreFigures
from tests.conftest import Ended, Once
from tests.hub.publisher import Publisher
from tests.hub_server.server import HubServer

CORPORA: tuple[CorpusName, ...] = ("meld", "meisd")
SPLITS: tuple[Split, ...] = ("train", "test")
PROMPT = sha256_of_text("prompt")


@dataclass(frozen=True)
class Build:
    """The folder that `--from` names, and the release of it."""

    path: Path
    recipe: ReleaseRecipe

    @property
    def dataset(self) -> DatasetManifest:
        return read_manifest(self.path / "dataset", DatasetManifest)


@pytest.fixture(scope="session")
def demo_build(demo_run: Path) -> Path:
    """The folders of the demo release as its steps make them: all of it loads."""
    return demo_run / "made"


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A metric of the tests in the place of the bundled ones."""
    folder = tmp_path / "metrics"
    (folder / "erc_scores" / "__pycache__").mkdir(parents=True)
    (folder / "erc_scores" / "__pycache__" / "erc_scores.pyc").write_bytes(b"compiled")
    (folder / "erc_scores" / "erc_scores.py").write_text("DESCRIPTION = 'a metric'\n", encoding="utf-8")
    card = "---\ntitle: ERC scores\nsdk: gradio\n---\n# ERC scores\n"
    (folder / "erc_scores" / "README.md").write_text(card, encoding="utf-8")
    bundled = {"metrics": folder, "spaces": resource_folder("spaces")}
    monkeypatch.setattr(plan, "resource_folder", bundled.__getitem__)
    return folder


@pytest.fixture
def build(tmp_path: Path, metrics: Path, once: Once, score_figures_of: Callable[..., ScoreFigures]) -> Build:
    assert metrics.is_dir()

    def fill(path: Path) -> None:
        dataset = write_dataset(path / "dataset", "Hello.")
        backbone = write_backbone(path / "backbones" / "tiny")
        adapter = write_adapter(path / "adapters" / "tiny", dataset, backbone)
        write_score(path / "scores" / "meld-tiny", adapter, score_figures_of)

    path = shutil.copytree(once("build", fill), tmp_path / "build")
    recipe = load_recipe("demo", "release", ReleaseRecipe).recipe
    metric_alone = tuple(one for one in recipe.spaces if one.metric)
    return Build(path, recipe.model_copy(update={"spaces": metric_alone}))


@pytest.fixture
def publisher(
    build: Build,
    hub_server: HubServer,
    tmp_path: Path,
    run: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> Publisher:
    monkeypatch.setattr(plan, "resource_folder", resource_folder)  # the bundled metric, as in other processes
    return Publisher(build.path, hub_server, tmp_path / "home", run)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def published(build: Build, target: Path, once: Once) -> Path:
    """The target after the first release."""
    made = once(
        "published", lambda folder: publish_release(build.recipe, build.path, FolderStore(folder / "target"))
    )
    return shutil.copytree(made / "target", target)


@pytest.fixture
def next_build(build: Build, score_figures_of: Callable[..., ScoreFigures]) -> Build:
    """The same with another dataset, all made anew, under the next tag."""
    dataset = write_dataset(build.path / "dataset", "Good evening.")
    backbone = read_manifest(build.path / "backbones" / "tiny", BackboneManifest)
    adapter = write_adapter(build.path / "adapters" / "tiny", dataset, backbone)
    write_score(build.path / "scores" / "meld-tiny", adapter, score_figures_of)
    return Build(build.path, build.recipe.model_copy(update={"tag": "v1.1.0"}))


def write_dataset(folder: Path, text: str) -> DatasetManifest:
    figures = {name: _write_corpus(folder, name, text) for name in CORPORA}
    manifest = DatasetManifest(
        created_by={},
        recipe=load_recipe("demo", "dataset", DatasetRecipe).stamp,
        inputs=(),
        outputs=(),
        content_sha256=combined_sha256(
            (f"{name}/{split}", digest)
            for name, one in figures.items()
            for split, digest in one.content_sha256.items()
        ),
        figures=DatasetFigures(
            records=dict.fromkeys(SPLITS, 4),
            dialogues=dict.fromkeys(SPLITS, 2),
            corpora=figures,
            skipped=(),
            context_k=1,
            prompt="dialogue-v1",
            prompt_sha256=PROMPT,
            relabelled={},
            reconciliation=(),
        ),
    )
    (folder / "README.md").write_text("The card of the build.\n", encoding="utf-8")
    manifest = manifest.model_copy(update={"outputs": stamps(folder)})
    write_manifest(folder, manifest)
    return manifest


def _write_corpus(folder: Path, name: CorpusName, text: str) -> CorpusFigures:
    entry = corpus_entry(name)
    records = {split: [_record(name, split, index, text) for index in (0, 1)] for split in SPLITS}
    for split, rows in records.items():
        with RowWriter(folder / DataFile(name, split, "clean").path, record_schema()) as data:
            data.add(record_table(columns_of(rows)))
        with RowWriter(folder / DataFile(name, split, "clean", "sft").path, sft_schema()) as sft:
            sft.add(sft_table(columns_of(rows), load_prompt("dialogue-v1")))
    labels: dict[Label, int] = {"neutral": 1, "anger": 1}
    return CorpusFigures(
        license=entry.text_license.id,
        may_redistribute=entry.text_license.redistribute == "yes",
        label_space=entry.label_space,
        files=(),
        unknown_files=(),
        repairs={},
        unused=Sizes(dialogues=0, utterances=0),
        splits=dict.fromkeys(SPLITS, Sizes(dialogues=1, utterances=2)),
        labels=dict.fromkeys(SPLITS, labels),
        content_sha256={
            split: content_sha256(record_digests(columns_of(rows))) for split, rows in records.items()
        },
    )


def _record(corpus: CorpusName, split: Split, index: int, text: str) -> Record:
    label: Label = "anger" if index else "neutral"
    return Record(
        id=f"{corpus}/{split}/0/{index}",
        instruction="Name the emotion.",
        video_description=None,
        context=(text,) * index,
        input=text,
        output=label,
        label=label,
        source_label=label,
        other_labels=(),
        corpus=corpus,
        split=split,
        dialogue_id="0",
        utterance_index=index,
        speaker=None,
        start_s=None,
        end_s=None,
        license=corpus_entry(corpus).text_license.id,
        leaks=None,
    )


def write_backbone(folder: Path) -> BackboneManifest:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(safetensors(b"weights of the base."))
    (folder / "config.json").write_text("{}\n", encoding="utf-8")
    manifest = BackboneManifest(
        created_by={},
        recipe=load_recipe("tiny", "backbone", BackboneRecipe).stamp,
        inputs=(),
        outputs=stamps(folder),
        content_sha256=sha256_of_text("backbone"),
        parameters=5,
    )
    write_manifest(folder, manifest)
    return manifest


def write_adapter(folder: Path, dataset: DatasetManifest, backbone: BackboneManifest) -> AdapterManifest:
    folder.mkdir(parents=True, exist_ok=True)
    base = "dialoguellm/tiny-llama"
    (folder / "adapter_model.safetensors").write_bytes(safetensors(dataset.content_sha256[:20].encode()))
    config = json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"})
    (folder / "adapter_config.json").write_text(config, encoding="utf-8")
    resolved: dict[str, JsonValue] = {
        "version": 1,
        "kind": "adapter",
        "description": "An adapter of the tests.",
        "backbone": "tiny",
        "prompt": "dialogue-v1",
        "data": {"config": "meld"},
        "lora": {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj"]},
        "trainer": {
            "learning_rate": 0.001,
            "num_train_epochs": 1.0,
            "per_device_train_batch_size": 1,
            "max_length": 64,
        },
        "seed": 1,
    }
    manifest = AdapterManifest(
        created_by={},
        recipe=RecipeStamp(name="tiny", sha256=sha256_of_text("recipe"), resolved=resolved),
        inputs=(),
        outputs=stamps(folder),
        content_sha256=sha256_of_text(f"adapter of {dataset.content_sha256}"),
        figures=AdapterFigures(
            base=base,
            base_revision=None,
            base_content_sha256=backbone.content_sha256,
            dataset_config="meld",
            dataset_content_sha256=dataset.content_sha256,
            prompt_sha256=PROMPT,
            records=2,
            truncated_records=0,
            trainable_parameters=5,
            steps=2,
            first_loss=2.0,
            last_loss=1.0,
            seed=1,
        ),
    )
    write_manifest(folder, manifest)
    return manifest


def write_score(folder: Path, adapter: AdapterManifest, figures_of: Callable[..., ScoreFigures]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text("{}\n", encoding="utf-8")
    manifest = ScoreManifest(
        created_by={},
        recipe=RecipeStamp(name="meld", sha256=sha256_of_text("recipe"), resolved={}),
        inputs=(),
        outputs=stamps(folder),
        content_sha256=sha256_of_text("scores"),
        figures=figures_of(
            protocol={
                "dataset_content_sha256": adapter.figures.dataset_content_sha256,
                "prompt_sha256": PROMPT,
            },
            system={
                "adapter_content_sha256": adapter.content_sha256,
                "base": adapter.figures.base,
                "base_content_sha256": adapter.figures.base_content_sha256,
            },
        ),
    )
    write_manifest(folder, manifest)


def safetensors(numbers: bytes) -> bytes:
    """A safetensors file of one tensor of four-byte floats."""
    entry = {"dtype": "F32", "shape": [len(numbers) // 4], "data_offsets": [0, len(numbers)]}
    header = json.dumps({"layer.lora_B.weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + numbers
