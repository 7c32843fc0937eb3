"""Records a second of training, ours beside the usual ways: same model, data, batch and machine, in one run.

    python bench/training.py --sources DIR [--records 512] [--rounds 3]

authors    the authors' script: padded to the longest, drawn at random, loss on the whole prompt,
           micro-batches of 4.
trl        TRL as it comes, but for what a CPU needs (use_cpu=True, bf16=False): padded, loss on the
           completion, micro-batches of 8, activation checkpointing.
trl-plain  the same without activation checkpointing, which spares memory that nobody lacks here.
ours       shared-prefix packs, as a training makes them of micro-batches of 16 records.

All train LoRA with batches of 16, the same learning rate and seed, on the first records of MELD's training
split; the model is bench/nano/backbone.yaml with random weights. Each runs in a process of its own with one
thread, the rounds alternate, and the training alone is timed. Afterwards each is asked for the mean loss of
the labels of MELD's validation split.
Goals: at least 3 times as fast as authors, 1.5 times as trl, at the same validation loss.
Measured with 256 records and 3 rounds on one of two cores: 2.62 times authors (short of the goal), 5.00 times
trl, 4.51 times trl-plain; beside other work 1.96, 3.85 and 3.63. Validation loss 4.778, trl 4.776, authors
7.751 (it learns the prompts). In a model so small, a third of ours is attention.

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
from typing import Any

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
GOALS = {"authors": 3.0, "trl": 1.5, "trl-plain": None}


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


def run_one(way: str, work: Path, count: int) -> None:
    """Trains one way in this process and prints seconds and validation loss as JSON."""
    import torch

    torch.set_num_threads(1)
    prompt = load_prompt("dialogue-v1")
    model, tokenizer = load_backbone(load_recipe(str(NANO), "backbone", BackboneRecipe).recipe, work / "nano")
    encoder = Encoder(prompt, tokenizer, MAX_LENGTH)
    records = list(read_records(work / "dataset", "meld", "train"))[:count]
    rows = training_rows(encoder, encoder.encode_all(records))
    texts = [{"prompt": prompt.prompt(one), "completion": prompt.completion(one.output)} for one in records]
    held_out = encoder.encode_all(read_records(work / "dataset", "meld", "validation"))
    with tempfile.TemporaryDirectory() as out:
        trained, seconds = WAYS[way](model, tokenizer, rows, texts, out)
    loss = completion_loss(trained, training_rows(encoder, held_out))
    print(json.dumps({"seconds": seconds, "loss": loss}))


def measure(way: str, work: Path, count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, "--work", str(work), "--records", str(count)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def compare(sources: Path, count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        build_dataset(
            "paper", sources, work / "dataset", skip=["emorynlp", "dailydialog", "meisd", "iemocap"]
        )
        build_backbone(str(NANO), work / "nano")
        measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                measured[way].append(measure(way, work, count))
    speed = {way: count / statistics.median(one["seconds"] for one in runs) for way, runs in measured.items()}
    print(f"{count} records of MELD, {rounds} rounds")
    for way, runs in measured.items():
        spread = ", ".join(f"{one['seconds']:.1f}" for one in runs)
        loss = statistics.median(one["loss"] for one in runs)
        print(f"{way:9} {speed[way]:7.1f} records/s   validation loss {loss:.4f}   (seconds: {spread})")
    for way, goal in GOALS.items():
        wanted = f" (goal: at least {goal})" if goal else ""
        print(f"ours / {way}: {speed['ours'] / speed[way]:.2f}{wanted}")


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
    parser.add_argument("--records", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one, arguments.work, arguments.records)
    elif arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")
    else:
        compare(Path(arguments.sources), arguments.records, arguments.rounds)


if __name__ == "__main__":
    main()
