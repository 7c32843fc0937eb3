"""What training costs on one GPU: packs beside the usual ways, QLoRA, FSDP and ZeRO-3.

    python bench/gpu.py --out results [--parts device,ours,...] [--budget-s 330]
    python bench/gpu.py --out results --tiny                         # tries every part on a CPU

Each part runs in a process of its own with a time limit; its result is one line of `results/results.jsonl`,
written when the part ends, so that nothing is lost where a later part fails.

device      versions, and the largest matmul rate that the device reaches (the peak that shares refer to)
attention   loss, gradients and seconds of a pack of 128 records by masks and by segments: four blocks of
            SmolLM2's shape
ours        LLaMA-2-7B's shape with random weights in bf16 by the recipe llama-2-7b: shared-prefix packs of 8
            records, activation checkpointing
ours-large  the same in packs of 64 records, without activation checkpointing
authors     the authors' script: micro-batches of 4, padded to the longest, loss on the whole prompt
trl         TRL's defaults: micro-batches of 8, padded, loss on the completion, gradient checkpointing
qlora       eight blocks of that shape, saved and loaded in 4 bits by `load_backbone`
fsdp, zero3 the tiny adapter by `docs/accelerate/{fsdp,zero3}.yaml` in one process

All ways of the 7B shape train the same made-up rows (`made_up_rows` of bench/training.py) in batches of 128.
FLOPs are 4 a weight of the linear layers and token that passes through the model: forward, and the gradient
of the activations; frozen weights have no gradient. What checkpointing computes twice is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.training import lora_of, made_up_rows, padded_on_the_left

BENCH = Path(__file__).parent
BATCH = 128
COMMAND_LINE = "from dialoguellm_release.cli.main import main; main()"
COMMIT = "0" * 40


def on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def architecture(tiny: bool) -> Any:
    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe

    name = "tiny" if tiny else "llama-2-7b"
    return load_recipe(name, "backbone", BackboneRecipe).recipe.source.architecture


def random_model(shape: Any, layers: int | None = None) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    keys = shape.model_dump(exclude={"sliding_window"}, exclude_none=True)
    keys["num_hidden_layers"] = layers or keys["num_hidden_layers"]
    config = AutoConfig.for_model(keys.pop("model_type"), **keys)
    torch.manual_seed(0)
    with torch.device("cuda" if on_gpu() else "cpu"):
        dtype = torch.bfloat16 if on_gpu() else torch.float32
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def some_tokenizer() -> Any:
    """A tokenizer that is asked for its special tokens only."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), eos_token="</s>", pad_token="<pad>"
    )


def recipe_of(tiny: bool, steps: int, *settings: str) -> Any:
    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe

    name = "tiny" if tiny else "llama-2-7b"
    fixed = ("trainer.warmup_steps=0", "trainer.eval_steps=null", "trainer.save_steps=null")
    overrides = [*fixed, f"trainer.max_steps={steps}", *settings]
    return load_recipe(name, "adapter", AdapterRecipe, overrides).recipe


def speed(shape: Any, records: int, tokens: int, computed: int, seconds: float) -> dict[str, Any]:
    import torch

    flops = 4 * shape.linear_parameters * computed / seconds
    return {
        "records": records,
        "seconds": round(seconds, 3),
        "records_per_s": round(records / seconds, 2),
        "record_tokens_per_s": round(tokens / seconds, 1),
        "computed_tokens_per_s": round(computed / seconds, 1),
        "tflops_linear": round(flops / 1e12, 3),
        "share_of_matmul_peak": round(flops / matmul_flops(), 4),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu() else None,
    }


def matmul_flops() -> float:
    """The largest rate of a matrix product on this device, in FLOP/s, in the type of training."""
    import torch

    device = "cuda" if on_gpu() else "cpu"
    dtype, size = (torch.bfloat16, 8192) if on_gpu() else (torch.float32, 768)
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(4):
        started = now()
        for _ in range(10):
            _ = one @ other
        best = max(best, 10 * 2 * size**3 / (now() - started))
    return best


def now() -> float:
    import torch

    if on_gpu():
        torch.cuda.synchronize()
    return time.perf_counter()


def part_device(_: argparse.Namespace) -> dict[str, Any]:
    import torch

    names = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "pyarrow"}
    names |= {"bitsandbytes", "deepspeed", "huggingface_hub", "gguf", "pydantic"}
    versions = {one.name: one.version for one in distributions() if one.name in names}
    return {
        "device": torch.cuda.get_device_name() if on_gpu() else platform.machine(),
        "python": platform.python_version(),
        "versions": versions,
        "matmul_tflops": round(matmul_flops() / 1e12, 2),
    }


def part_attention(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
    from dialoguellm_release.training.attention import attention_for_packs, boolean_mask
    from dialoguellm_release.training.packs import packed, summed_loss

    shape: Any = load_recipe("smollm2-135m", "backbone", BackboneRecipe).recipe.source.architecture
    rows = made_up_rows(16 if arguments.tiny else BATCH, shape.vocab_size)
    model = random_model(shape, 4)
    batch = packed(rows)
    batch = {name: one.to(model.device) if hasattr(one, "to") else one for name, one in batch.items()}

    def step(mask_of: Any) -> tuple[float, Any]:
        model.zero_grad()
        loss: Any = summed_loss(model, batch, mask_of)
        loss.backward()
        weights = dict(model.named_parameters())
        chosen = [weights[f"model.layers.{number}.self_attn.v_proj.weight"] for number in range(4)]
        return loss.item(), torch.cat([one.grad.float().flatten() for one in chosen])

    def seconds(mask_of: Any) -> float:
        step(mask_of)
        started = now()
        for _ in range(5):
            step(mask_of)
        return (now() - started) / 5

    found: dict[str, Any] = {"tokens": batch["input_ids"].numel()}
    model.float()
    exact_loss, exact = step(boolean_mask)
    model.to(torch.bfloat16 if on_gpu() else torch.float32)
    ways = {"masks": boolean_mask, "segments": attention_for_packs(model, 10_000, model.dtype)}
    found["by_segment"] = model.config._attn_implementation == "by_segment"
    for way, mask_of in ways.items():
        if way == "masks":
            model.set_attn_implementation("sdpa")
        elif found["by_segment"]:
            model.set_attn_implementation("by_segment")
        loss, gradient = step(mask_of)
        found[way] = {
            "loss_difference": abs(loss - exact_loss) / exact_loss,
            "gradient_difference": ((gradient - exact).norm() / exact.norm()).item(),
            "seconds": round(seconds(mask_of), 5),
        }
    return found


def ours(arguments: argparse.Namespace, *settings: str) -> dict[str, Any]:
    from dialoguellm_release.training.sft import tune

    shape = architecture(arguments.tiny)
    recipe = recipe_of(arguments.tiny, arguments.steps, *settings)
    trainer = recipe.trainer
    batch = trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps
    rows = made_up_rows(batch * arguments.steps, shape.vocab_size)
    model = random_model(shape)
    once = recipe_of(arguments.tiny, 1, *settings)
    model = tune(model, some_tokenizer(), rows[:batch], once).model
    tuned = tune(model, some_tokenizer(), rows, recipe)
    return {
        "micro_batch": trainer.per_device_train_batch_size,
        "activation_checkpointing": trainer.activation_checkpointing,
        "losses": tuned.losses,
        **speed(shape, len(rows), tuned.tokens, tuned.computed_tokens, tuned.seconds),
    }


def timed_training(trainer: Any, shape: Any, rows: Any, batch: int) -> dict[str, Any]:
    """The speed of all steps but the first, by the clock after each."""
    from transformers import TrainerCallback

    computed, marks = [0], list[tuple[float, int]]()

    def count(_module: Any, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        computed[0] += int(keywords.get("input_ids", *given[:1]).numel())

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append((now(), computed[0]))

    trainer.model.register_forward_pre_hook(count, with_kwargs=True)
    trainer.add_callback(Clock())
    trainer.train()
    (first, before), (last, after) = marks[0], marks[-1]
    records = batch * (len(marks) - 1)
    tokens = sum(len(row["input_ids"]) for row in rows) * (len(marks) - 1) // len(marks)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"losses": losses, **speed(shape, records, tokens, after - before, last - first)}


def usual_settings(recipe: Any, out: str, micro_batch: int, batch: int) -> dict[str, Any]:
    return {
        "output_dir": out,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": max(1, batch // micro_batch),
        "max_steps": recipe.trainer.max_steps,
        "learning_rate": recipe.trainer.learning_rate,
        "bf16": on_gpu(),
        "use_cpu": not on_gpu(),
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
    }


def same_for_all(arguments: argparse.Namespace) -> tuple[Any, Any, int, Any]:
    shape, recipe = architecture(arguments.tiny), recipe_of(arguments.tiny, arguments.steps)
    batch = 16 if arguments.tiny else BATCH
    return shape, recipe, batch, made_up_rows(batch * arguments.steps, shape.vocab_size)


def part_authors(arguments: argparse.Namespace) -> dict[str, Any]:
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    shape, recipe, batch, rows = same_for_all(arguments)

    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            model=get_peft_model(random_model(shape), lora_of(recipe.lora)),
            args=TrainingArguments(**usual_settings(recipe, out, 4, batch), remove_unused_columns=False),
            train_dataset=Dataset.from_list(rows),
            data_collator=padded_on_the_left(pad=0),
        )
        return {"micro_batch": 4, **timed_training(trainer, shape, rows, batch)}


def part_trl(arguments: argparse.Namespace) -> dict[str, Any]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    shape, recipe, batch, rows = same_for_all(arguments)
    masked = [
        {
            "input_ids": row["input_ids"],
            "completion_mask": [0] * row["first_target"]
            + [1] * (len(row["input_ids"]) - row["first_target"]),
        }
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=random_model(shape),
            args=SFTConfig(**usual_settings(recipe, out, 8, batch)),
            train_dataset=Dataset.from_list(masked),
            processing_class=some_tokenizer(),
            peft_config=lora_of(recipe.lora),
        )
        return {"micro_batch": 8, **timed_training(trainer, shape, rows, batch)}


def in_hub_cache(home: Path, repo_id: str) -> Path:
    """A folder in the Hub's cache that `from_pretrained` finds by its repository id when offline."""
    repository = home / "hub" / f"models--{repo_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="ascii")
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def part_qlora(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from dialoguellm_release.backbones.load import load_backbone
    from dialoguellm_release.backbones.weights import build_backbone
    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.adapter import QuantizationRecipe
    from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
    from dialoguellm_release.training.sft import tune

    shape = architecture(arguments.tiny)
    layers = min(8, shape.num_hidden_layers)
    folder = in_hub_cache(Path(os.environ["HF_HOME"]), "bench/blocks")
    tiny = load_recipe("tiny", "backbone", BackboneRecipe)
    with tempfile.TemporaryDirectory() as work:
        build_backbone(tiny, Path(work) / "tiny")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(Path(work) / "tiny" / name, folder / name)
    model = random_model(shape, layers)
    weights = sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(folder)
    del model
    if on_gpu():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    source = tiny.recipe.model_dump(mode="json") | {"source": {"type": "hub", "repo_id": "bench/blocks"}}
    backbone = BackboneRecipe.model_validate_json(json.dumps(source))
    quantization = QuantizationRecipe(load_in_4bit=True) if on_gpu() else None
    model, tokenizer = load_backbone(backbone, None, quantization)
    loaded = torch.cuda.memory_allocated() / 1e9 if on_gpu() else None
    recipe = recipe_of(arguments.tiny, arguments.steps)
    batch = recipe.trainer.per_device_train_batch_size * recipe.trainer.gradient_accumulation_steps
    rows = made_up_rows(batch * arguments.steps, shape.vocab_size)
    tuned = tune(model, tokenizer, rows, recipe)
    smaller = shape.model_copy(update={"num_hidden_layers": layers})
    return {
        "layers": layers,
        "weights": weights,
        "loaded_gb": loaded,
        "losses": tuned.losses,
        **speed(smaller, len(rows), tuned.tokens, tuned.computed_tokens, tuned.seconds),
    }


def launched(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """The tiny adapter in one process, plain and by a configuration of accelerate."""
    found: dict[str, Any] = {}
    config = BENCH.parent / "docs" / "accelerate" / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as work:
        train = [sys.executable, "-c", COMMAND_LINE, "adapter", "train", "tiny", "--json"]
        train += ["--dataset", str(arguments.dataset), "--backbones", f"{work}/backbones"]
        train += ["--set", "trainer.max_steps=20", "--set", "data.max_records=640"]
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        launch += ["--num_processes", "1", "--no_python"]
        for way, command in (("plain", train), (name, [*launch, *train])):
            done = run([*command, "--out", f"{work}/{way}"], 110)
            if done.returncode:
                raise RuntimeError(f"{way}: {done.stderr[-3000:]}")
            figures = json.loads(done.stdout[done.stdout.index("{") :])
            kept = ("content_sha256", "first_loss", "last_loss", "steps", "run")
            found[way] = {key: figures[key] for key in kept}
    return found


def run(command: list[str], limit_s: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s, cwd=cwd)


def run_part(name: str, arguments: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """One part in a process of its own; what went wrong is its result where it fails."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", name, "--out", str(arguments.out)]
    command += ["--steps", str(arguments.steps), *(["--tiny"] if arguments.tiny else [])]
    command += ["--dataset", str(arguments.dataset.resolve())] if arguments.dataset else []
    started = time.perf_counter()
    try:
        done = run(command, limit_s)
        result = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {"error": done.stderr}
    except subprocess.TimeoutExpired:
        result = {"error": f"more than {limit_s:.0f} s"}
    except (ValueError, IndexError) as error:
        result = {"error": str(error)}
    if "error" in result:
        result["error"] = result["error"][-3000:]
    return {"part": name, "wall_s": round(time.perf_counter() - started, 1), **result}


LARGE = (
    *("trainer.per_device_train_batch_size=64", "trainer.gradient_accumulation_steps=2"),
    "trainer.activation_checkpointing=false",
)
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "device": part_device,
    "attention": part_attention,
    "ours": ours,
    "ours-large": lambda arguments: ours(arguments, *LARGE),
    "trl": part_trl,
    "authors": part_authors,
    "qlora": part_qlora,
    "fsdp": lambda arguments: launched(arguments, "fsdp"),
    "zero3": lambda arguments: launched(arguments, "zero3"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--budget-s", type=float, default=420)
    parser.add_argument("--dataset", type=Path, help="for fsdp and zero3: a folder of `dataset build`")
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the parts on a CPU")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        print(json.dumps(PARTS[arguments.one](arguments)))
        return
    os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="gpu-hub-"))
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BENCH.parent), os.environ.get("PYTHONPATH", "")])
    ends = time.perf_counter() + arguments.budget_s
    for name in arguments.parts.split(","):
        left = ends - time.perf_counter()
        late: dict[str, Any] = {"part": name, "error": "no time left"}
        result = late if left < 20 else run_part(name, arguments, min(left, 120))
        with (arguments.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
