"""From an adapter and its recipe to other tools: merged weights, and the same training text."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import GOLDEN_RECORD, Encoder
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.manifests import AdapterManifest, MergedManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, TrainerRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps.model import export_training, merge_adapter
from dialoguellm_release.training import adapter_folder
from dialoguellm_release.training.export import Segments, Tool, configuration
from tests.tokenizers import with_prefix_space


@pytest.fixture(scope="module")
def merged(tiny_adapter: Path, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "tiny"
    return merge_adapter(tiny_adapter, out, backbones=tiny_backbone.parent).folder


@pytest.fixture(scope="module")
def records(small_dataset: Path) -> list[Record]:
    return list(read_records(small_dataset, "meld", "train"))


@pytest.fixture(scope="module")
def encoder(tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]) -> Encoder:
    _, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
    return Encoder(load_prompt("dialogue-v1"), tokenizer, 512)


def test_the_merged_model_answers_as_base_and_adapter(
    merged: Path, tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    model = AutoModelForCausalLM.from_pretrained(merged)
    batch = AutoTokenizer.from_pretrained(merged)("Alex: yes!\n\n### Response:", return_tensors="pt")
    with torch.inference_mode():
        alone = base(**batch).logits
        together = PeftModel.from_pretrained(base, tiny_adapter)(**batch).logits
        assert torch.allclose(model(**batch).logits, together, atol=1e-4)
        assert not torch.allclose(alone, together, atol=1e-2)


def test_the_merged_folder_tells_where_it_is_from_and_holds_no_pickle(
    merged: Path, tiny_adapter: Path, tiny_backbone: Path
) -> None:
    manifest = read_manifest(merged, MergedManifest)
    trained = read_manifest(tiny_adapter, AdapterManifest)
    assert manifest.figures.adapter_content_sha256 == trained.content_sha256
    assert manifest.figures.largest_difference < 1e-4 * manifest.figures.largest_logit
    assert manifest.outputs == stamps(merged)
    names = {path.name for path in merged.iterdir()}
    assert {"model.safetensors", "chat_template.jinja", "golden_prompt.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    for path in merged.iterdir():
        assert str(tiny_backbone).encode() not in path.read_bytes()
    assert merge_adapter(tiny_adapter, merged, backbones=tiny_backbone.parent).was_current


def test_a_merge_that_answers_otherwise_is_refused(
    tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, calls = adapter_folder._logits, list[int]()

    def off_the_second_time(model: Any, ids: list[int]) -> Any:
        calls.append(len(ids))
        return logits(model, ids) + len(calls) - 1

    monkeypatch.setattr(adapter_folder, "_logits", off_the_second_time)
    with pytest.raises(DataError, match="other logits than base and adapter"):
        merge_adapter(tiny_adapter, tmp_path / "out", backbones=tiny_backbone.parent)
    assert not (tmp_path / "out").exists()


def exported(tool: str, backbone: Path, dataset: Path, out: Path, *settings: str) -> list[dict[str, Any]]:
    export_training("tiny", tool, dataset, out, backbones=backbone.parent, overrides=settings)
    return [
        json.loads(line) for line in (out / "rows" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.parametrize("tool", ["axolotl", "llama-factory"])
def test_tools_that_tokenise_apart_get_text_of_the_same_tokens(
    tool: str,
    tiny_backbone: Path,
    small_dataset: Path,
    tmp_path: Path,
    encoder: Encoder,
    records: list[Record],
) -> None:
    from transformers import AutoTokenizer

    rows = exported(tool, tiny_backbone, small_dataset, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    for row, record in zip(rows, records, strict=True):
        if tool == "llama-factory":
            texts = [row["prompt"], row["response"]]
        else:
            texts = [segment["text"] for segment in row["segments"]]
            assert [segment["label"] for segment in row["segments"]] == [False, True]
        ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        assert ids == [encoder.encode(record).ids, encoder.completion_ids(record.output)]


def test_a_prefix_space_is_not_put_twice() -> None:
    """A SentencePiece-like tokenizer writes a space before each text: the answer must then have none."""
    tokenizer = with_prefix_space()
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 2000)
    segments = Segments(encoder, tokenizer)
    assert segments.answer("happiness") == "happiness</s>"
    one = encoder.encode(GOLDEN_RECORD)
    assert tokenizer(segments.prompt(one), add_special_tokens=False).input_ids == one.ids


def test_trl_and_chat_models_get_prompt_and_completion(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path, encoder: Encoder, records: list[Record]
) -> None:
    rows = exported("trl", tiny_backbone, small_dataset, tmp_path / "trl")
    chats = exported("messages", tiny_backbone, small_dataset, tmp_path / "messages")
    for row, chat, record in zip(rows, chats, records, strict=True):
        assert row == {"prompt": encoder.encode(record).text, "completion": f" {record.output}"}
        assert chat["prompt"] == [{"role": "user", "content": row["prompt"]}]
        assert chat["completion"] == [{"role": "assistant", "content": record.output}]


def test_trl_knows_every_key_of_its_configuration(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    from trl import ModelConfig, ScriptArguments, SFTConfig

    exported("trl", tiny_backbone, small_dataset, tmp_path / "trl")
    settings = yaml.safe_load((tmp_path / "trl" / "trl-sft.yaml").read_text(encoding="utf-8"))
    parts = (ModelConfig, ScriptArguments, SFTConfig)
    assert set(settings) <= {field.name for part in parts for field in dataclasses.fields(part)}


def test_the_other_configurations_say_what_the_recipe_says() -> None:
    recipe = load_recipe("llama-2-7b-qlora", "adapter", AdapterRecipe).recipe
    backbone = load_recipe("llama-2-7b", "backbone", BackboneRecipe).recipe
    axolotl = configuration("axolotl", recipe, backbone, has_validation=True).settings
    factory = configuration("llama-factory", recipe, backbone, has_validation=True).settings
    assert axolotl["base_model"] == factory["model_name_or_path"] == "meta-llama/Llama-2-7b-hf"
    assert (axolotl["adapter"], factory["quantization_bit"]) == ("qlora", 4)
    assert axolotl["micro_batch_size"] == factory["per_device_train_batch_size"] == 8
    assert axolotl["cosine_min_lr_ratio"] == 0.1
    assert axolotl["datasets"] == [{"path": "rows/train.jsonl", "ds_type": "json", "type": "input_output"}]
    assert (factory["template"], factory["train_on_prompt"]) == ("empty", False)
    assert factory["lora_target"] == "q_proj,v_proj"


STATED = (
    *("trainer.max_steps=50", "trainer.logging_steps=5", "trainer.eval_steps=10", "trainer.save_steps=20"),
    *("trainer.warmup_steps=0.05", "trainer.save_total_limit=3", "trainer.report_to=[wandb, trackio]"),
)


@pytest.mark.parametrize("tool", ["trl", "messages", "axolotl", "llama-factory"])
def test_every_setting_of_a_recipe_is_written_or_named_as_left_out(tool: Tool) -> None:
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, [*STATED, "seeds=[1, 2]"]).recipe
    backbone = load_recipe("tiny", "backbone", BackboneRecipe).recipe
    found = configuration(tool, recipe, backbone, has_validation=True)
    for name, value in (("max_steps", 50), ("logging_steps", 5), ("eval_steps", 10), ("save_steps", 20)):
        assert found.settings[name] == value
    assert (found.settings["eval_strategy"], found.settings["save_strategy"]) == ("steps", "steps")
    assert found.settings["save_total_limit"] == 3
    warmup = "warmup_steps" if tool in ("trl", "messages") else "warmup_ratio"
    assert found.settings[warmup] == 0.05
    assert any("seeds: 1, 2" in one for one in found.left_out)
    assert any("packing: shared_prefix" in one for one in found.left_out)
    if tool == "axolotl":
        assert found.settings["use_wandb"] is True
        assert "trainer.report_to: trackio" in found.left_out
    else:
        assert "trackio" in found.settings["report_to"]  # type: ignore[operator]


@pytest.mark.parametrize("name", sorted(TrainerRecipe.model_fields))
@pytest.mark.parametrize("tool", ["trl", "axolotl", "llama-factory"])
def test_a_changed_setting_changes_the_configuration_or_what_is_left_out(tool: Tool, name: str) -> None:
    other: dict[str, object] = {
        "lr_scheduler_type": "constant",
        "lr_scheduler_kwargs": {"min_lr": 1e-5},
        "optim": "adamw_torch",
        "report_to": ("mlflow",),
        "max_steps": 7,
        "eval_steps": 3,
        "save_steps": 30,
        "precision": "float32",
    }
    recipe = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    value = getattr(recipe.trainer, name)
    changed = other.get(name, not value if isinstance(value, bool) else (value or 0.5) * 2)
    trainer = recipe.trainer.model_copy(update={name: changed})
    backbone = load_recipe("tiny", "backbone", BackboneRecipe).recipe
    before, after = (
        configuration(tool, one, backbone, has_validation=True)
        for one in (recipe, recipe.model_copy(update={"trainer": trainer}))
    )
    assert before != after


@pytest.mark.parametrize(
    ("tool", "bf16"),
    [
        ("trl", {"auto": None, "float32": False, "bf16": True}),
        ("axolotl", {"auto": "auto", "float32": False, "bf16": True}),
        ("llama-factory", {"auto": True, "float32": False, "bf16": True}),
    ],
)
def test_the_precision_of_the_recipe_is_that_of_the_configuration(tool: Tool, bf16: dict[str, Any]) -> None:
    backbone = load_recipe("tiny", "backbone", BackboneRecipe).recipe
    for precision, expected in bf16.items():
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, [f"trainer.precision={precision}"]).recipe
        found = configuration(tool, recipe, backbone, has_validation=False)
        assert found.settings.get("bf16") == expected
        is_left_out = any(one.startswith("trainer.precision: float32") for one in found.left_out)
        assert is_left_out == (tool == "llama-factory" and precision == "float32")


def test_a_run_that_saves_and_evaluates_nothing_says_so() -> None:
    recipe = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    backbone = load_recipe("tiny", "backbone", BackboneRecipe).recipe
    tools: tuple[Tool, ...] = ("trl", "axolotl", "llama-factory")
    for tool in tools:
        settings = configuration(tool, recipe, backbone, has_validation=False).settings
        assert (settings["eval_strategy"], settings["save_strategy"]) == ("no", "no")
        assert "max_steps" not in settings or settings["max_steps"] == -1


def test_an_unknown_tool_and_a_missing_tokenizer_are_told(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as unknown:
        exported("unsloth", tiny_backbone, small_dataset, tmp_path / "out")
    assert unknown.value.problems[0].code == "training.no_tool"
    with pytest.raises(DataError) as missing:
        export_training("llama-2-7b", "trl", small_dataset, tmp_path / "out", overrides=["data.config=meld"])
    assert missing.value.problems[0].code == "training.no_tokenizer"


@pytest.mark.slow
def test_trl_trains_on_it_with_the_tokens_of_our_trainer(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path, encoder: Encoder, records: list[Record]
) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    out = tmp_path / "trl"
    rows = exported("trl", tiny_backbone, small_dataset, out, "trainer.max_steps=2")
    settings = yaml.safe_load((out / "trl-sft.yaml").read_text(encoding="utf-8"))
    here = {"model_name_or_path": str(tiny_backbone), "bf16": False, "use_cpu": True}
    (out / "trl-sft.yaml").write_text(yaml.safe_dump(settings | here), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("trl"), "sft", "--config", "trl-sft.yaml"],
        cwd=out,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / "out" / "adapter_model.safetensors").is_file()

    trainer = SFTTrainer(
        model=str(tiny_backbone),
        args=SFTConfig(output_dir=str(tmp_path / "work"), bf16=False, use_cpu=True, shuffle_dataset=False),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(tiny_backbone),
    )
    for row, record in zip(trainer.train_dataset, records, strict=True):
        completion = encoder.completion_ids(record.output)
        assert row["input_ids"] == encoder.encode(record).ids + completion
        assert row["labels"] == [-100] * (len(row["labels"]) - len(completion)) + completion


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """What `dlm-release ... --json` prints."""
    from dialoguellm_release.cli.main import main

    def call(*arguments: str | Path) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["dlm-release", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as exited:
            main()
        assert not exited.value.code
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return shown

    return call


def test_the_command_line_exports_and_merges(
    run_command: Any, tiny_adapter: Path, tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    backbones = ("--backbones", tiny_backbone.parent)
    place = ("--dataset", small_dataset, "--out", tmp_path / "trl")
    assert run_command("adapter", "export", "tiny", "trl", *place, *backbones)["records"] == {"train": 84}
    shown = run_command("adapter", "merge", tiny_adapter, "--out", tmp_path / "merged", *backbones)
    assert shown["dtype"] == "float32"
