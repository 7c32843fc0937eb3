"""The whole demo release on a Hub, read back by the libraries of the field, and the release after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release import publish
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.record import SFT_COLUMNS
from dialoguellm_release.steps.dataset import check_dataset, hydrate_dataset
from tests.hub_server.accounts import Token
from tests.hub_server.audit import broken_tags, release_commits
from tests.hub_server.clients import point_clients_at
from tests.hub_server.server import HubServer

pytestmark = pytest.mark.timeout(600)
DATASET, BACKBONE, ADAPTER, METRIC, APP = (
    f"dialoguellm/{name}" for name in ("instructions", "tiny-llama", "tiny", "erc_scores", "emotion_demo")
)


@pytest.fixture(scope="module")
def released(
    made: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HubServer, Path]]:
    """A Hub with the demo release on it, and a copy of the build."""
    build = shutil.copytree(
        made[0], tmp_path_factory.mktemp("build") / "build", ignore=shutil.ignore_patterns("release")
    )
    with pytest.MonkeyPatch.context() as patch, HubServer().running() as server:
        patch.setenv(
            "HF_TOKEN", server.accounts.add("hf_a", Token("maintainer", organizations=("dialoguellm",)))
        )
        point_clients_at(server, tmp_path_factory.mktemp("cache"), patch)
        publish("demo", build, "hub")
        patch.delenv("HF_TOKEN")
        yield server, build


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("test-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("revision", [None, "v1.0.0"])
def test_the_dataset_is_loaded_by_name(released: tuple[HubServer, Path], revision: str | None) -> None:
    from datasets import ClassLabel, load_dataset

    built = {row["id"]: row["input"] for row in rows(released[1] / "dataset" / "data" / "meld")}
    meld = load_dataset(DATASET, "meld", revision=revision)
    assert dict(zip(meld["test"]["id"], meld["test"]["input"], strict=True)) == built
    assert isinstance(meld["train"].features["label"], ClassLabel)
    default = load_dataset(DATASET, revision=revision)
    assert set(default["test"]["corpus"]) == {"meld", "emorynlp", "dailydialog"}
    assert load_dataset(DATASET, "sft", revision=revision, split="test").column_names == list(SFT_COLUMNS)


def test_the_dataset_is_streamed(released: tuple[HubServer, Path]) -> None:
    from datasets import ClassLabel, load_dataset

    streamed = load_dataset(DATASET, "meld", revision="v1.0.0", split="test", streaming=True)
    built = {row["id"] for row in rows(released[1] / "dataset" / "data" / "meld")}
    assert {row["id"] for row in streamed} == built
    assert isinstance(streamed.features["label"], ClassLabel)


def test_a_reader_with_corpora_of_their_own_gets_the_whole_dataset_by_name(
    released: tuple[HubServer, Path], tmp_path: Path
) -> None:
    out = tmp_path / "full"
    published = f"{DATASET}@v1.0.0"
    made = hydrate_dataset(published, resource_folder("synthetic_corpora"), out)
    built = read_manifest(released[1] / "dataset", DatasetManifest)
    assert set(made.manifest.figures.corpora) == {"meld", "emorynlp", "dailydialog", "meisd", "iemocap"}
    assert made.manifest.content_sha256 == built.content_sha256
    assert check_dataset(out) == []
    assert hydrate_dataset(published, resource_folder("synthetic_corpora"), out).was_current


def test_the_adapter_is_loaded_with_its_base_from_the_same_hub(released: tuple[HubServer, Path]) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(BACKBONE, revision="v1.0.0")
    model = PeftModel.from_pretrained(base, ADAPTER, revision="v1.0.0").eval()
    assert (
        AutoPeftModelForCausalLM.from_pretrained(ADAPTER).peft_config["default"].base_model_name_or_path
        == BACKBONE
    )
    tokenizer = AutoTokenizer.from_pretrained(ADAPTER, revision="v1.0.0")
    folder = released[1]
    local = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder / "backbones" / "tiny"), folder / "adapters" / "tiny"
    ).eval()
    prompt = rows(folder / "dataset" / "sft")[0]["prompt"]
    with torch.inference_mode():
        tokens = tokenizer(prompt, return_tensors="pt")
        assert torch.equal(model(**tokens).logits, local(**tokens).logits)


def test_the_metric_is_loaded_from_its_space(released: tuple[HubServer, Path]) -> None:
    import evaluate

    assert released[0].url
    metric = evaluate.load(METRIC, revision="v1.0.0")
    assert metric.compute(predictions=["anger", "fear"], references=["anger", "fear"])["weighted_f1"] == 1.0


def test_a_release_with_one_changed_file_makes_one_commit_and_the_old_bytes_stay(
    released: tuple[HubServer, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    server, build = released
    old = {name: one.head for name, one in server.store.repositories.items()}
    changed = build / "adapters" / "tiny" / "tokenizer_config.json"
    before = changed.read_bytes()
    changed.write_bytes(before + b"\n")
    manifest = read_manifest(changed.parent, AdapterManifest)
    write_manifest(changed.parent, manifest.model_copy(update={"outputs": stamps(changed.parent)}))
    recipe = tmp_path / "demo.yaml"
    text = (resource_folder("recipes") / "releases" / "demo.yaml").read_text(encoding="utf-8")
    recipe.write_text(text.replace("tag: v1.0.0", "tag: v1.1.0"), encoding="utf-8")
    monkeypatch.setenv("HF_TOKEN", "hf_a")
    done = publish(str(recipe), build, "hub")
    assert {one.repo_id: tuple(change.path for change in one.changes) for one in done.repositories} == {
        DATASET: (),
        BACKBONE: (),
        METRIC: (),
        ADAPTER: ("manifest.json", "release.json", "tokenizer_config.json"),
        APP: ("adapters.json", "release.json"),
    }
    assert broken_tags(server.store) == []
    for name, one in server.store.repositories.items():
        assert one.tags == {"v1.0.0": old[name].oid, "v1.1.0": one.head.oid}
        assert release_commits(one) == (["v1.1.0", "v1.0.0"] if one.repo_id in (ADAPTER, APP) else ["v1.0.0"])
    for revision, expected in (("v1.0.0", before), ("v1.1.0", before + b"\n"), ("main", before + b"\n")):
        path = hf_hub_download(ADAPTER, "tokenizer_config.json", revision=revision)
        assert Path(path).read_bytes() == expected
