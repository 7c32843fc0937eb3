"""Records a second of a training step in shared-prefix packs, beside padding: same rows, model and run.

    python bench/packs.py --sources DIR [--rounds 5]

padded    rows of like length, padded to the longest.
masked    all rows of a micro-batch in one pack, attention with one mask over all its tokens, as on a GPU.
segments  the same pack, attention by segment, as a training on a CPU has it.

Rows of MELD's training split with the tiny backbone's tokenizer, of one step of 64 records, drawn and sorted
as in a training; LLaMAs of two blocks and random weights with LoRA on all linear layers; one CPU thread, its
processor time, forward and backward. In all three the last layer computes only what the targets need. The
rounds alternate.
Goal: segments are nowhere slower than padding nor than a mask.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
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
from dialoguellm_release.training.attention import (
    MaskMaker,
    attention_for_packs,
    boolean_mask,
)
from dialoguellm_release.training.data import EpochOrder, Row, training_rows
from dialoguellm_release.training.packs import Batch, packed, padded, summed_loss
from dialoguellm_release.training.shortcuts import only_needed_in_last_layer

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


def seconds(model: Any, batches: list[Batch], mask_of: MaskMaker | None) -> float:
    start = time.process_time()
    with only_needed_in_last_layer(model):
        for batch in batches:
            summed_loss(model, batch, mask_of).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return time.process_time() - start


def compare(rows: list[Row], width: int, size: int, rounds: int) -> bool:
    model = model_of(width, 1 + max(max(row["input_ids"]) for row in rows))
    assert attention_for_packs(model, 512, model.dtype) is None
    alike = [packed(found) for found in micro_batches(rows, size, in_packs=True)]
    ways: dict[str, tuple[list[Batch], MaskMaker | None]] = {
        "padded": ([padded(found) for found in micro_batches(rows, size, in_packs=False)], None),
        "masked": (alike, boolean_mask),
        "segments": (alike, None),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, (batches, mask_of) in ways.items():
            times[name].append(seconds(model, batches, mask_of))
    speed = {name: STEP / statistics.median(taken[1:]) for name, taken in times.items()}
    faster = [speed["segments"] / speed[name] for name in ("padded", "masked")]
    print(
        f"{width:5} {size:6} "
        + " ".join(f"{speed[name]:9.1f}" for name in ways)
        + f"   {faster[0]:5.2f} {faster[1]:5.2f}",
        flush=True,
    )
    return min(faster) >= 1


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
    print("width  batch    padded    masked  segments   / padded, / masked")
    met = [compare(rows, width, size, arguments.rounds) for width in WIDTHS for size in MICRO_BATCHES]
    print(f"goal met in {sum(met)} of {len(met)} cases")


if __name__ == "__main__":
    main()
