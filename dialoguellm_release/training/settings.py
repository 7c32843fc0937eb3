"""An adapter recipe in the keys of other trainers. Paths are relative to the configuration."""

from __future__ import annotations

from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, HubSource

Settings = dict[str, object]

ROWS = "rows"
"""The folder of the rows, beside the configuration; each tool is started where that lies."""


def trl_settings(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `trl sft --config trl-sft.yaml`: keys of its ScriptArguments, SFTConfig and ModelConfig."""
    trainer = recipe.trainer.model_dump(mode="json", exclude={"load_best_model_at_end"}, exclude_none=True)
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "dataset_name": ROWS,
        "dataset_test_split": "validation",
        "output_dir": "out",
        "use_peft": True,
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target_modules": list(recipe.lora.target_modules),
        "load_in_4bit": bool(recipe.quantization and recipe.quantization.load_in_4bit),
        "load_in_8bit": bool(recipe.quantization and recipe.quantization.load_in_8bit),
        **trainer,
        "report_to": ",".join(recipe.trainer.report_to) or "none",
        "eval_strategy": "steps" if has_validation else "no",
        "seed": recipe.seed,
    }


def axolotl_settings(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `axolotl train axolotl.yaml`.

    Source: axolotl's documentation, template-free prompts (`type: input_output`) and configuration reference.
    """
    trainer = recipe.trainer
    rows = {"ds_type": "json", "type": "input_output"}
    floor = trainer.lr_scheduler_kwargs.get("min_lr_rate")
    held_out = [{"path": f"{ROWS}/validation.jsonl", "split": "train", **rows}]
    is_cosine = trainer.lr_scheduler_type.startswith("cosine")
    return {
        "base_model": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "datasets": [{"path": f"{ROWS}/train.jsonl", **rows}],
        **({"test_datasets": held_out} if has_validation else {}),
        "train_on_inputs": not trainer.completion_only_loss,
        "adapter": "qlora" if recipe.quantization and recipe.quantization.load_in_4bit else "lora",
        "load_in_4bit": bool(recipe.quantization and recipe.quantization.load_in_4bit),
        "load_in_8bit": bool(recipe.quantization and recipe.quantization.load_in_8bit),
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target_modules": list(recipe.lora.target_modules),
        "sequence_len": trainer.max_length,
        "sample_packing": False,
        "micro_batch_size": trainer.per_device_train_batch_size,
        "gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "num_epochs": trainer.num_train_epochs,
        "learning_rate": trainer.learning_rate,
        "optimizer": trainer.optim,
        "adam_beta1": trainer.adam_beta1,
        "adam_beta2": trainer.adam_beta2,
        "weight_decay": trainer.weight_decay,
        "max_grad_norm": trainer.max_grad_norm,
        "lr_scheduler": "cosine" if is_cosine else trainer.lr_scheduler_type,
        **({"cosine_min_lr_ratio": floor} if floor is not None else {}),
        "warmup_steps": round(trainer.warmup_steps),
        "gradient_checkpointing": trainer.activation_checkpointing,
        "bf16": "auto",
        "seed": recipe.seed,
        "output_dir": "out",
    }


def llama_factory_settings(
    recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool
) -> Settings:
    """For `llamafactory-cli train llama-factory.yaml`; the template adds nothing to prompt and response.

    Source: LLaMA-Factory's data/README.md and its template `empty`.
    """
    trainer = recipe.trainer
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target": ",".join(recipe.lora.target_modules),
        **({"quantization_bit": 4 if recipe.quantization.load_in_4bit else 8} if recipe.quantization else {}),
        "dataset_dir": ".",
        "dataset": "dialoguellm_train",
        **({"eval_dataset": "dialoguellm_validation"} if has_validation else {}),
        "template": "empty",
        "train_on_prompt": not trainer.completion_only_loss,
        "cutoff_len": trainer.max_length,
        "per_device_train_batch_size": trainer.per_device_train_batch_size,
        "gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "num_train_epochs": trainer.num_train_epochs,
        "learning_rate": trainer.learning_rate,
        "lr_scheduler_type": trainer.lr_scheduler_type,
        **({"lr_scheduler_kwargs": trainer.lr_scheduler_kwargs} if trainer.lr_scheduler_kwargs else {}),
        "warmup_steps": trainer.warmup_steps,
        "optim": trainer.optim,
        "adam_beta1": trainer.adam_beta1,
        "adam_beta2": trainer.adam_beta2,
        "weight_decay": trainer.weight_decay,
        "max_grad_norm": trainer.max_grad_norm,
        "bf16": True,
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _revision(backbone: BackboneRecipe, key: str) -> Settings:
    source = backbone.source
    return {key: source.revision} if isinstance(source, HubSource) and source.revision else {}
