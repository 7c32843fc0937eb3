"""`adapter check`: what can be said of a training without weights."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.load import local_tokenizer
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded, bundled
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import Architecture, BackboneRecipe, FolderSource, HubSource
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps.adapter import check_adapter
from dialoguellm_release.steps.model import export_training
from dialoguellm_release.training.check import Check, footprint, steps_per_epoch, trainable_parameters

HUB_BACKBONES = [
    name.partition("/")[2] for name in bundled() if name.startswith("backbones/") and "tiny" not in name
]


def architecture_of(name: str) -> Architecture:
    source = load_recipe(name, "backbone", BackboneRecipe).recipe.source
    assert isinstance(source, HubSource | FolderSource)
    assert source.architecture is not None
    return source.architecture


def on_the_meta_device(architecture: Architecture) -> Any:
    """The model that transformers makes of the same keys, without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = architecture.model_dump(exclude={"model_type"}, exclude_none=True)
    settings |= {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 1}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture.model_type, **settings))


@pytest.mark.parametrize("name", HUB_BACKBONES)
def test_sizes_are_those_of_the_model_that_transformers_and_peft_make(name: str) -> None:
    from peft import LoraConfig, get_peft_model

    architecture = architecture_of(name)
    recipe = load_recipe(name.removesuffix("-gguf"), "adapter", AdapterRecipe).recipe
    model = on_the_meta_device(architecture)
    assert architecture.parameters == model.num_parameters()
    lora = LoraConfig(task_type="CAUSAL_LM", r=recipe.lora.r, target_modules=[*recipe.lora.target_modules])
    trainable, _ = get_peft_model(model, lora).get_nb_trainable_parameters()
    assert trainable_parameters(architecture, recipe) == trainable


def test_every_kind_of_architecture_is_counted_right() -> None:
    shared = {
        "vocab_size": 100,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    for model_type in ("llama", "mistral", "qwen2", "qwen3", "smollm3"):
        for tied in (True, False):
            architecture = Architecture.model_validate(
                {**shared, "model_type": model_type, "head_dim": 12, "tie_word_embeddings": tied}
            )
            assert architecture.parameters == on_the_meta_device(architecture).num_parameters()


def test_the_check_agrees_with_the_training_it_looks_ahead_to(
    tiny_adapter: Path, tiny_backbone: Path, small_dataset: Path
) -> None:
    figures = read_manifest(tiny_adapter, AdapterManifest).figures
    overrides = ["trainer.per_device_train_batch_size=8", "trainer.num_train_epochs=3"]
    found = check_adapter(
        "tiny", small_dataset, backbones=tiny_backbone.parent, overrides=overrides, tokens_per_second=1000.0
    )
    assert found.trainable_parameters == figures.trainable_parameters
    assert found.records == figures.records == 84
    assert (found.steps_per_epoch, found.steps) == (11, 33)
    assert found.tokens is not None
    assert found.tokens.per_epoch == figures.tokens
    assert found.tokens.computed_per_epoch < figures.tokens
    assert found.seconds == pytest.approx(3 * figures.tokens / 1000)
    log = [json.loads(line) for line in (tiny_adapter / "training_log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 10
    assert log[-1]["num_computed_tokens"] == pytest.approx(
        found.tokens.computed_per_epoch * 10 / 10.5, rel=0.02
    )


def test_a_record_that_is_longer_than_what_the_backbone_reads_is_a_problem_before_the_training(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    narrow = tmp_path / "narrow.yaml"

    def checked(window: int) -> Check:
        narrow.write_text(f"extends: tiny\nsource:\n  max_position_embeddings: {window}\n", encoding="utf-8")
        return check_adapter("tiny", small_dataset, tokenizer=tiny_backbone, overrides=[f"backbone={narrow}"])

    whole = checked(1024)
    assert whole.too_long is None
    assert whole.tokens is not None
    longest = whole.tokens.longest
    assert checked(longest).too_long is None
    problem = checked(longest - 1).too_long
    assert problem is not None
    assert problem.code == "backbones.context_window"
    with pytest.raises(DataError) as raised:
        export_training(
            "tiny",
            "trl",
            small_dataset,
            tmp_path / "out",
            tokenizer=tiny_backbone,
            overrides=[f"backbone={narrow}"],
        )
    assert raised.value.problems == (problem,)
    assert not (tmp_path / "out").exists()


def test_of_the_records_only_ids_and_lengths_are_held(
    tiny_backbone: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, most = weakref.WeakSet[Record](), 0

    def watched(*_: Any) -> Iterator[Record]:
        nonlocal most
        for record in read_records(small_dataset, "meld", "train"):
            alive.add(record)
            most = max(most, len(alive))
            yield record

    expected = check_adapter("tiny", small_dataset, backbones=tiny_backbone.parent)
    monkeypatch.setattr("dialoguellm_release.encoding.ENCODED_AT_ONCE", 10)
    monkeypatch.setattr("dialoguellm_release.steps.adapter.records_of", watched)
    assert check_adapter("tiny", small_dataset, backbones=tiny_backbone.parent) == expected
    assert 10 <= most <= 21


@pytest.mark.parametrize(
    ("records", "micro", "accumulation", "steps"),
    [(84, 8, 1, 11), (84, 8, 4, 3), (7, 8, 4, 1), (64, 8, 4, 2)],
)
def test_steps_are_counted_as_the_trainer_counts_them(
    records: int, micro: int, accumulation: int, steps: int
) -> None:
    settings = [
        f"trainer.per_device_train_batch_size={micro}",
        f"trainer.gradient_accumulation_steps={accumulation}",
    ]
    assert steps_per_epoch(load_recipe("tiny", "adapter", AdapterRecipe, settings).recipe, records) == steps


def test_a_tokenizer_is_taken_from_where_it_is_named(
    tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe], small_dataset: Path, tmp_path: Path
) -> None:
    found = check_adapter(
        "llama-2-7b", small_dataset, tokenizer=tiny_backbone, overrides=["data.config=meld"]
    )
    assert found.tokens is not None
    assert not any("tokenizer" in line for line in found.unknown)
    assert local_tokenizer(tiny_recipe.recipe, tmp_path / "not-built") is None
    with pytest.raises(DataError, match="the tokenizer cannot be loaded"):
        check_adapter("llama-2-7b", small_dataset, tokenizer=tmp_path)


def test_memory_goes_with_what_the_recipe_says() -> None:
    architecture = architecture_of("llama-2-7b")
    recipe = load_recipe("llama-2-7b", "adapter", AdapterRecipe).recipe
    paper = footprint(architecture, recipe, 1000, 20)
    kept = recipe.model_copy(
        update={"trainer": recipe.trainer.model_copy(update={"activation_checkpointing": False})}
    )
    assert footprint(architecture, kept, 1000, 20).activations > 10 * paper.activations
    in_four_bits = recipe.model_copy(update={"quantization": QuantizationRecipe(load_in_4bit=True)})
    assert 3.5e9 < footprint(architecture, in_four_bits, 1000, 20).weights < 4e9
    in_eight_bits = recipe.model_copy(update={"quantization": QuantizationRecipe(load_in_8bit=True)})
    assert 6.7e9 < footprint(architecture, in_eight_bits, 1000, 20).weights < 7.1e9
    assert paper.optimizer == 8 * 2_097_152
    assert paper.total == sum(asdict(paper).values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "targets", ["[q_proj, v_proj]", "[q_proj, k_proj, v_proj, o_proj, up_proj, down_proj]"]
)
def test_activations_are_near_what_autograd_really_keeps(checkpointing: bool, targets: str) -> None:
    """In float32 on a small LLaMA; the part that grows with the blocks."""
    settings = [
        f"lora.target_modules={targets}",
        f"trainer.activation_checkpointing={str(checkpointing).lower()}",
    ]
    settings.append("lora.lora_dropout=0.05")
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, settings).recipe
    tokens = 200
    measured, estimated = [], []
    for layers in (2, 6):
        architecture = Architecture(
            model_type="llama",
            vocab_size=64,
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=layers,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=512,
        )
        measured.append(saved_bytes(architecture, recipe, tokens))
        estimated.append(footprint(architecture, recipe, tokens, 1, width=4).activations)
    grows = (estimated[1] - estimated[0]) / (measured[1] - measured[0])
    assert 0.8 < grows < 1.25


def saved_bytes(architecture: Architecture, recipe: AdapterRecipe, tokens: int) -> int:
    """What torch keeps of a forward pass for the backward pass, without the weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama", **architecture.model_dump(exclude={"model_type"}, exclude_none=True)
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM", **recipe.lora.model_dump() | {"target_modules": [*recipe.lora.target_modules]}
    )
    model = get_peft_model(AutoModelForCausalLM.from_config(config), lora).train()
    if recipe.trainer.activation_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    known = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(
            input_ids=torch.zeros(1, tokens, dtype=torch.long),
            attention_mask=torch.ones(1, 1, tokens, tokens, dtype=torch.bool).tril(),
            logits_to_keep=torch.tensor([3]),
            use_cache=False,
        )
    return sum(storage.nbytes() for storage in kept.values())
