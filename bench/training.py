"""Records a second of training, ours beside the usual ways: same model, data, batch and machine, in one run.

    python bench/training.py --sources DIR [--records 256] [--rounds 5]
    python bench/training.py --sources DIR --share [--records 32] [--rounds 5]

authors    the authors' script: padded to the longest, drawn at random, loss on the whole prompt,
           micro-batches of 4.
trl        TRL as it comes, but for what a CPU needs (use_cpu=True, bf16=False): padded, loss on the
           completion, micro-batches of 8, activation checkpointing.
trl-plain  the same without activation checkpointing, which spares memory that nobody lacks here; it has no
           goal, and one round.
ours       shared-prefix packs, as a training makes them of micro-batches of 16 records.

All train LoRA with batches of 16, the same learning rate and seed, on the first records of MELD's training
split; the model is bench/nano/backbone.yaml with random weights. Each runs in a process of its own with one
thread, the rounds alternate, and the training alone is timed. The validation loss is the mean over the labels
of MELD's validation split, computed in the first round: all rounds train the same.
Goals: at least 4 times as fast as authors, 1.5 times as trl, at the same validation loss as trl (authors
learn the prompts, and their loss is higher).

With --share: how much of the peak of matrix products a training of ours reaches, with one thread and with all
cores, in float32 and in bf16. Counted are 4 operations for each token and weight of the linear layers that
all tokens pass through: not the output layer, LoRA, attention, nor what the last layer does for few tokens.
The peak is that of the same products, in the shapes of the backbone's layers and of a pack, in the same
process before and after each training. Then it prints the share that these products reach where nothing else
is computed, which no training can exceed, and where the time of a step goes, by torch's profiler.
Goals for smollm2-135m-gguf (`make weights` brings it): 0.65 in float32, 0.55 in bf16.

What training costs on a GPU: bench/gpu.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, LoraRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.model import build_backbone
from dialoguellm_release.training.data import Row, training_rows
from dialoguellm_release.training.packs import padded, summed_loss
from dialoguellm_release.training.sft import tune

NANO = Path(__file__).parent / "nano" / "backbone.yaml"
BATCH = 16
MAX_LENGTH = 512
SETTINGS = [
    f"trainer.per_device_train_batch_size={BATCH}",
    "trainer.num_train_epochs=1",
    "trainer.learning_rate=1e-3",
    "trainer.lr_scheduler_type=constant",
    "trainer.warmup_steps=0",
]
GOALS = {"authors": 4.0, "trl": 1.5, "trl-plain": None}


def recipe() -> AdapterRecipe:
    return load_recipe("tiny", "adapter", AdapterRecipe, SETTINGS).recipe


def lora_of(lora: LoraRecipe) -> Any:
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **lora.model_dump() | {"target_modules": [*lora.target_modules]})


def padded_on_the_left(pad: int) -> Callable[[list[Row]], dict[str, Any]]:
    """The authors' batches: padded to the longest, loss on the whole prompt."""
    import torch

    def collate(batch: list[Row]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in batch)
        columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in batch:
            ids, missing = row["input_ids"], longest - len(row["input_ids"])
            columns["input_ids"].append([pad] * missing + ids)
            columns["attention_mask"].append([0] * missing + [1] * len(ids))
            columns["labels"].append([-100] * missing + ids)
        return {name: torch.tensor(values) for name, values in columns.items()}

    return collate


def same_settings(out: str, micro_batch: int) -> dict[str, Any]:
    """What a trainer of transformers takes to train as ours does."""
    ours = recipe()
    return {
        "output_dir": out,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": BATCH // micro_batch,
        "num_train_epochs": ours.trainer.num_train_epochs,
        "learning_rate": ours.trainer.learning_rate,
        "lr_scheduler_type": ours.trainer.lr_scheduler_type,
        "weight_decay": ours.trainer.weight_decay,
        "seed": ours.seed,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def timed(trainer: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    trainer.train()
    return trainer.model, time.perf_counter() - start


def authors(model: Any, tokenizer: Any, rows: list[Row], _texts: list[dict[str, str]], out: str) -> Any:
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(**same_settings(out, 4), remove_unused_columns=False)
    trainer = Trainer(
        model=get_peft_model(model, lora_of(recipe().lora)),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=padded_on_the_left(tokenizer.pad_token_id),
    )
    return timed(trainer)


def trl(
    model: Any, tokenizer: Any, _rows: list[Row], texts: list[dict[str, str]], out: str, **settings: bool
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**same_settings(out, 8), **settings),
        train_dataset=Dataset.from_list(texts),
        processing_class=tokenizer,
        peft_config=lora_of(recipe().lora),
    )
    return timed(trainer)


def trl_plain(*arguments: Any) -> Any:
    return trl(*arguments, activation_checkpointing=False)


def ours(model: Any, tokenizer: Any, rows: list[Row], _texts: list[dict[str, str]], _out: str) -> Any:
    tuned = tune(model, tokenizer, rows, recipe())
    return tuned.model, tuned.seconds


WAYS: dict[str, Callable[..., Any]] = {"authors": authors, "trl": trl, "trl-plain": trl_plain, "ours": ours}


def completion_loss(model: Any, rows: list[Row]) -> float:
    """The mean loss over the labels and ends of sequence of all rows."""
    import torch

    total, targets = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            batch = padded(rows[start : start + BATCH])
            total += summed_loss(model.eval(), batch).item()
            targets += len(batch["labels"])
    return total / targets


def run_one(way: str, work: Path, count: int, with_loss: bool) -> None:
    """Trains one way in this process and prints seconds and, if asked, the validation loss as JSON."""
    import torch

    torch.set_num_threads(1)
    prompt = load_prompt("dialogue-v1")
    model, tokenizer = load_backbone(load_recipe(str(NANO), "backbone", BackboneRecipe).recipe, work / "nano")
    encoder = Encoder(prompt, tokenizer, MAX_LENGTH)
    records = list(read_records(work / "dataset", "meld", "train"))[:count]
    rows = training_rows(encoder, encoder.encode_all(records))
    texts = [{"prompt": prompt.prompt(one), "completion": prompt.completion(one.output)} for one in records]
    with tempfile.TemporaryDirectory() as out:
        trained, seconds = WAYS[way](model, tokenizer, rows, texts, out)
    found = {"seconds": seconds}
    if with_loss:
        held_out = encoder.encode_all(read_records(work / "dataset", "meld", "validation"))
        found["loss"] = completion_loss(trained, training_rows(encoder, held_out))
    print(json.dumps(found))


def in_a_process(*arguments: str) -> Any:
    """The JSON that this program prints when it is called with some arguments."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def meld(sources: Path, work: Path) -> None:
    build_dataset("paper", sources, work / "dataset", skip=["emorynlp", "dailydialog", "meisd", "iemocap"])


def compare(sources: Path, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        meld(sources, work)
        build_backbone(str(NANO), work / "nano")
        measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way in WAYS if number == 0 else ("authors", "trl", "ours"):
                asked = ["--with-loss"] if number == 0 else []
                given = ["--one", way, "--work", str(work), "--records", str(count), *asked]
                measured[way].append(in_a_process(*given))
    print(f"{count} records of MELD, {rounds} rounds: median (range)")
    for way, runs in measured.items():
        speeds = [count / one["seconds"] for one in runs]
        print(f"{way:9} {spread(speeds, 1):26} records/s   validation loss {runs[0]['loss']:.4f}")
    for way, goal in GOALS.items():
        pairs = zip(measured["ours"], measured[way], strict=False)
        wanted = f", goal: at least {goal}" if goal else ""
        print(
            f"ours / {way}: {spread([their['seconds'] / our['seconds'] for our, their in pairs], 2)}{wanted}"
        )


KINDS = {
    "products of the layers": ("aten::mm",),
    "LoRA": ("aten::addmm", "Addition"),
    "attention": ("scaled_dot_product",),
    "optimizer": ("Optimizer", "_fused_adam", "_foreach"),
    "data": ("DataLoader",),
    "copies": ("aten::copy_", "aten::cat", "aten::index"),
    "norms, activations, residuals": tuple(
        f"::{name}" for name in ("mul", "add", "silu", "pow", "mean", "neg", "sum", "rsqrt")
    ),
}


def share(
    backbone: str, work: Path, precision: Literal["float32", "bf16"], threads: int, count: int, rounds: int
) -> None:
    """Trains in this process and prints the shares of the peak, and where the time goes, as JSON."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    settings = [*SETTINGS, f"trainer.precision={precision}", f"trainer.threads={threads}"]
    found = load_recipe("tiny", "adapter", AdapterRecipe, settings).recipe
    torch.set_num_threads(threads)
    loaded = load_recipe(backbone, "backbone", BackboneRecipe).recipe
    model, tokenizer = load_backbone(loaded, work / "backbone", None, precision)
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, MAX_LENGTH)
    records = list(read_records(work / "dataset", "meld", "train"))[:count]
    rows = training_rows(encoder, encoder.encode_all(records))
    architecture = loaded.source.architecture
    assert architecture is not None
    shapes = list(architecture.linear_layers.values())
    peak, shares = product_flops(shapes, precision), []
    trained: Any = tune(model, tokenizer, rows[:BATCH], found).model
    for _ in range(rounds):
        tuned = tune(trained, tokenizer, rows, found)
        peak = max(peak, product_flops(shapes, precision))
        shares.append(4 * tuned.linear_weights * tuned.computed_tokens / tuned.seconds / peak)
    alone = products_alone(trained, tuned.computed_tokens * BATCH // count) / peak
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        tune(trained, tokenizer, rows[:BATCH], found)
    events = profiled.key_averages(group_by_input_shape=True)
    total = sum(event.self_cpu_time_total for event in events)
    parts = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in events:
        kinds = [kind for kind, names in KINDS.items() if any(one in event.key for one in names)]
        if event.key == "aten::mm" and any(found.lora.r in shape for shape in event.input_shapes):
            kinds = ["LoRA"]
        parts[kinds[0] if kinds else "the rest"] += event.self_cpu_time_total / total
    print(json.dumps({"shares": shares, "gigaflops": peak / 1e9, "parts": parts, "alone": alone}))


def products_alone(model: Any, tokens: int) -> float:
    """The rate of all products with frozen weights in a step; the outputs are kept, as a step keeps them."""
    import torch

    weights: list[torch.Tensor] = [
        part.base_layer.weight for part in model.modules() if hasattr(part, "base_layer")
    ]
    given = {size: torch.randn(tokens, size, dtype=weights[0].dtype) for one in weights for size in one.shape}
    best = float("inf")
    with torch.no_grad():
        for _ in range(5):
            started = time.perf_counter()
            kept = [torch.nn.functional.linear(given[one.shape[1]], one) for one in weights]
            for one in weights:
                _ = given[one.shape[0]] @ one
            best = min(best, time.perf_counter() - started)
            del kept
    return 4 * tokens * sum(one.shape.numel() for one in weights) / best


def product_flops(shapes: list[tuple[int, int]], precision: str, tokens: int = 672) -> float:
    """The rate of the products of all layers of a block with the tokens of a pack, at best of some tries."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pairs = [
        (torch.randn(tokens, one, dtype=dtype), torch.randn(other, one, dtype=dtype)) for one, other in shapes
    ]
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        for given, weight in pairs:
            torch.nn.functional.linear(given, weight)
        best = min(best, time.perf_counter() - started)
    return 2 * tokens * sum(one * other for one, other in shapes) / best


def shares(backbone: str, sources: Path, count: int, rounds: int) -> None:
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        meld(sources, work)
        print(f"{backbone}, {count} records, {rounds} rounds: median (range)")
        for precision, goal in (("float32", 0.65), ("bf16", 0.55)):
            for threads in sorted({1, cores}):
                given = ["--backbone", backbone, "--work", str(work), "--records", str(count)]
                more = ["--one-share", precision, str(threads), "--rounds", str(rounds)]
                found = in_a_process(*given, *more)
                middle, peak = spread(found["shares"], 3), f"{found['gigaflops']:.0f} GFLOP/s"
                print(f"{precision}, threads {threads}: {middle} of {peak}, goal {goal}")
                print(f"    the products alone: {found['alone']:.2f}")
                parts = (f"{kind} {100 * part:.0f} %" for kind, part in found["parts"].items())
                print("    " + ", ".join(parts), flush=True)


def made_up_rows(count: int, vocab_size: int) -> list[Row]:
    """Rows of ids: 53 tokens that all share, then 40 to 120 of their own, the last 2 a completion."""
    drawn = random.Random(0)

    def some(tokens: int) -> list[int]:
        return [drawn.randrange(3, vocab_size) for _ in range(tokens)]

    shared = some(53)
    rows = [shared + some(drawn.randint(40, 120)) for _ in range(count)]
    return [{"input_ids": ids, "first_target": len(ids) - 2} for ids in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--records", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--backbone", default="smollm2-135m-gguf")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--one-share", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--with-loss", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = arguments.records or (32 if arguments.share or arguments.one_share else 256)
    if arguments.one:
        run_one(arguments.one, arguments.work, count, arguments.with_loss)
    elif arguments.one_share:
        precision, threads = arguments.one_share
        share(arguments.backbone, arguments.work, precision, int(threads), count, arguments.rounds)
    elif arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")
    elif arguments.share:
        shares(arguments.backbone, Path(arguments.sources), count, arguments.rounds)
    else:
        compare(Path(arguments.sources), count, arguments.rounds)


if __name__ == "__main__":
    main()
