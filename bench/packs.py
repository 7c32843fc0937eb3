"""Records a second of a training step in shared-prefix packs, beside padding: same rows, model and run.

    python bench/packs.py --sources DIR [--rounds 5]

padded    rows of like length, padded to the longest.
one pack  all rows of a micro-batch in one sequence.
packs     what a training does: as many packs as cost least.

Rows of MELD's training split with the tiny backbone's tokenizer, of one step of 64 records, drawn and sorted
as in a training; LLaMAs of two blocks and random weights with LoRA on all linear layers; one CPU thread, its
processor time, forward and backward. The rounds alternate.
Goal: packs are nowhere slower than padding, nor than one pack by more than a twentieth.
Measured with 5 rounds: 1.16 to 2.56 times padding, 1.00 to 2.98 times one pack but for the smallest case
(width 64, batches of 4), which gave 0.90; it scatters.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.model import build_backbone
from dialoguellm_release.training.data import EpochOrder, Row, training_rows
from dialoguellm_release.training.packs import (
    Batch,
    boolean_mask,
    packed,
    padded,
    parity_of_model,
    summed_loss,
)

STEP = 64
MICRO_BATCHES = (4, 8, 16, 64)
WIDTHS = (64, 256, 512)


def rows_of_meld(sources: Path, work: Path) -> list[Row]:
    build_dataset("paper", sources, work / "dataset", skip=["emorynlp", "dailydialog", "meisd", "iemocap"])
    loaded = load_recipe("tiny", "backbone", BackboneRecipe)
    build_backbone("tiny", work / "tiny")
    _, tokenizer = load_backbone(loaded.recipe, work / "tiny")
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 512)
    return training_rows(encoder, encoder.encode_all(read_records(work / "dataset", "meld", "train")))


def model_of(width: int, vocab_size: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=2,
        num_attention_heads=width // 32,
        max_position_embeddings=512,
    )
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    return get_peft_model(LlamaForCausalLM(config), lora)


def micro_batches(rows: list[Row], size: int, *, in_packs: bool) -> Iterator[list[Row]]:
    ids = [row["input_ids"] for row in rows]
    order = list(EpochOrder(ids, STEP, "shared_prefix" if in_packs else "none", seed=1))[:STEP]
    for start in range(0, STEP, size):
        yield [rows[index] for index in order[start : start + size]]


def seconds(model: Any, batches: list[Batch]) -> float:
    start = time.process_time()
    for batch in batches:
        summed_loss(model, batch, boolean_mask if "last_seen" in batch else None).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return time.process_time() - start


def compare(rows: list[Row], width: int, size: int, rounds: int) -> bool:
    """Prints one line; gives whether the goal is met."""
    model = model_of(width, 1 + max(max(row["input_ids"]) for row in rows))
    parity = parity_of_model(model)
    ways: dict[str, Callable[[list[Row]], Batch]] = {
        "padded": padded,
        "one pack": packed(math.inf),
        "packs": packed(parity),
    }
    batches = {
        name: [collate(found) for found in micro_batches(rows, size, in_packs=name != "padded")]
        for name, collate in ways.items()
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, found in batches.items():
            times[name].append(seconds(model, found))
    speed = {name: STEP / statistics.median(taken[1:]) for name, taken in times.items()}
    sizes = " ".join(
        f"{len(batch['input_ids'])}x{batch['input_ids'].shape[1]}" for batch in batches["packs"][:2]
    )
    print(
        f"{width:5} {size:6} "
        + " ".join(f"{speed[name]:9.1f}" for name in ways)
        + f"   {speed['packs'] / speed['padded']:5.2f} {speed['packs'] / speed['one pack']:5.2f}   {sizes}",
        flush=True,
    )
    return speed["packs"] >= max(speed["padded"], 0.95 * speed["one pack"])


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of_meld(Path(arguments.sources), Path(folder))
    print("width  batch    padded  one pack     packs   / padded, / one pack   first packs x tokens")
    met = [compare(rows, width, size, arguments.rounds) for width in WIDTHS for size in MICRO_BATCHES]
    print(f"goal met in {sum(met)} of {len(met)} cases")


if __name__ == "__main__":
    main()
