"""The bundled adapter recipes: the keys are upstream's, the numbers the paper's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import bundled
from dialoguellm_release.schemas.recipes.adapter import (
    AdapterRecipe,
    LoraRecipe,
    QuantizationRecipe,
    TrainerRecipe,
)
from dialoguellm_release.schemas.recipes.backbone import Architecture, BackboneRecipe, HubSource
from dialoguellm_release.training.sft import _lora_config, _sft_config

ADAPTERS = [name.partition("/")[2] for name in bundled() if name.startswith("adapters/")]
PAPER = ("llama-7b", "llama-13b", "llama-2-7b", "llama-2-13b")
OPEN = ("qwen3-8b", "smollm3-3b", "mistral-7b")


def adapter(name: str) -> AdapterRecipe:
    return load_recipe(name, "adapter", AdapterRecipe).recipe


def test_every_key_is_one_of_trl_peft_or_transformers() -> None:
    import inspect

    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, LlamaConfig
    from trl import SFTConfig

    def names(config: type) -> set[str]:
        return {field.name for field in dataclasses.fields(config)}

    assert set(TrainerRecipe.model_fields) - names(SFTConfig) == {"precision", "threads"}
    assert set(LoraRecipe.model_fields) <= names(LoraConfig)
    assert set(QuantizationRecipe.model_fields) <= set(inspect.signature(BitsAndBytesConfig).parameters)
    of_the_architecture = set(Architecture.model_fields) - {"sliding_window"}
    assert of_the_architecture <= set(dir(LlamaConfig()))


@pytest.mark.parametrize("name", ADAPTERS)
def test_trl_and_peft_take_what_a_recipe_says(name: str, tmp_path: Path) -> None:
    recipe = adapter(name)
    config = _sft_config(recipe, tmp_path, has_validation=True)
    for key in ("learning_rate", "weight_decay", "adam_beta2", "max_grad_norm", "warmup_steps", "optim"):
        assert getattr(config, key) == getattr(recipe.trainer, key)
    assert config.activation_checkpointing == recipe.trainer.activation_checkpointing
    assert config.max_length is None
    lora = _lora_config(recipe.lora)
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (
        recipe.lora.r,
        recipe.lora.lora_alpha,
        recipe.lora.lora_dropout,
    )


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_s_recipes_say_what_table_2_and_the_text_say(name: str) -> None:
    recipe = adapter(name)
    trainer = recipe.trainer
    assert trainer.per_device_train_batch_size == 8
    assert trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps == 128
    assert (trainer.num_train_epochs, trainer.learning_rate) == (5, 3e-4)
    lora = recipe.lora
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (4, 16, 0.05)
    assert set(lora.target_modules) == {"q_proj", "v_proj"}
    assert (trainer.adam_beta1, trainer.adam_beta2, trainer.weight_decay) == (0.9, 0.95, 0.1)
    assert trainer.max_grad_norm == 1.0
    assert (trainer.lr_scheduler_type, trainer.lr_scheduler_kwargs) == (
        "cosine_with_min_lr",
        {"min_lr_rate": 0.1},
    )
    assert recipe.backbone == name
    assert recipe.data.config == "default"


def test_the_authors_code_differs_from_the_paper_as_their_script_does() -> None:
    recipe = adapter("authors-code")
    trainer = recipe.trainer
    assert trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps == 60
    assert (trainer.num_train_epochs, trainer.warmup_steps, trainer.lr_scheduler_type) == (20, 100, "linear")
    assert (recipe.lora.r, recipe.lora.lora_alpha) == (8, 64)
    assert trainer.completion_only_loss is False
    assert recipe.quantization is not None
    assert recipe.quantization.load_in_8bit


def test_the_ablations_differ_from_the_paper_in_their_knowledge_alone() -> None:
    paper = adapter("llama-2-7b")
    for name in ("llama-2-7b-no-context", "llama-2-7b-with-video", "llama-2-7b-shuffled-video"):
        ablation = adapter(name)
        assert ablation.data.knowledge != paper.data.knowledge
        same = ablation.model_copy(update={"data": paper.data, "description": paper.description})
        assert same == paper
    assert adapter("llama-2-7b-five-seeds").seeds == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", [*PAPER, *OPEN])
def test_backbones_say_licence_size_and_that_no_commit_is_pinned(name: str) -> None:
    recipe = load_recipe(name, "backbone", BackboneRecipe).recipe
    assert isinstance(recipe.source, HubSource)
    assert recipe.source.architecture is not None
    assert recipe.source.architecture.max_position_embeddings >= adapter(name).trainer.max_length
    assert recipe.source.revision is None
    assert recipe.license == {"llama-7": "LicenseRef-llama-1", "llama-1": "LicenseRef-llama-1"}.get(
        name[:7], "llama2" if name.startswith("llama-2") else "apache-2.0"
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trainer.lr_scheduler_kwargs={}", "takes one of min_lr and min_lr_rate"),
        ("trainer.lr_scheduler_type=linear", "takes nothing in lr_scheduler_kwargs"),
        ("trainer.save_steps=15", "save_steps must be a multiple of logging_steps"),
        ("trainer.load_best_model_at_end=true", None),
        ("trainer.eval_steps=300", None),
        ("seeds=[1, 1]", "holds a number twice"),
        ("quantization={load_in_4bit: true, load_in_8bit: true}", "set one of load_in_4bit and load_in_8bit"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(setting: str, said: str | None) -> None:
    if said is None:
        load_recipe("llama-2-7b", "adapter", AdapterRecipe, [setting])
        return
    with pytest.raises(RecipeError, match=said):
        load_recipe("llama-2-7b", "adapter", AdapterRecipe, [setting])


def test_the_best_needs_looks_at_the_steps_that_are_saved() -> None:
    best = "trainer.load_best_model_at_end=true"
    for settings, said in (
        (["trainer.eval_steps=null"], "needs eval_steps and save_steps"),
        (["trainer.eval_steps=300"], "needs save_steps to be a multiple of eval_steps"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_recipe("llama-2-7b", "adapter", AdapterRecipe, [best, *settings])
