"""`predict` beside `score run` on the same turns, and its memory on short and long files.

    python bench/predict.py [--turns 10000] [--long 1000000] [--rounds 3] [--hidden 64] [--layers 2]

scorer    encodes records that are in memory, asks for the likeliest label, keeps each reply as `score run`.
predict   reads the same turns from a file, checks them, asks, and writes the table, as `predict --out` does.

Both ask one model of random weights in float32, loaded before; rounds alternate, and times are those of the
processor, so that a crowded machine does not decide. The smaller the model, the more reading and writing
weigh. Goal: at least 0.9 of the scorer's records a second, the same labels.

Memory is the peak of a process of its own that predicts files of --turns and of --long turns; the answers
come from a stub, as a real model would take hours. Goal: flat but for the 10,000 conversations that are held.

Measured on one core that others used as well: 690 records scored a second, 711 turns predicted (1.03), and
no label differs; 63 MB for 10,000 turns, 76 MB for 1,000,000, before a held conversation was made smaller.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.predict.files import write_predictions
from dialoguellm_release.predict.predictor import EmotionPredictor, turn_of
from dialoguellm_release.predict.reading import open_file
from dialoguellm_release.predict.trained_model import LabelScores, TaskChoice
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.answers import kept_replies
from dialoguellm_release.scoring.scorers import LikelihoodScorer, label_tokens
from dialoguellm_release.steps.model import build_backbone

SPACE = LABELS[:7]
CHOICE = TaskChoice(SPACE, SPACE, 1)
WORDS = ("the", "house", "letter", "dog", "music", "trip", "job", "we", "said", "never", "happy", "sad")


class Stub:
    """Stands for a model: scores by the length of a turn."""

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        return [
            LabelScores(tuple(-float(abs(len(one.input) % 7 - place)) for place in range(7)))
            for one in records
        ]


class Asked:
    """The same scorer as that of `score run`, on a model that is loaded already."""

    def __init__(self, scorer: LikelihoodScorer, encoder: Encoder) -> None:
        self.scorer, self.encoder = scorer, encoder

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        prompts = self.encoder.fit_all(records)
        found: list[LabelScores | None] = [None] * len(prompts)
        for batch in self.scorer.plan(prompts):
            for place, reply in zip(batch.places, self.scorer.replies(prompts, batch), strict=True):
                found[place] = LabelScores(reply.log_probs)
        return [one for one in found if one is not None]


def write_turns(path: Path, turns: int) -> None:
    """Turns of invented words, ten a conversation."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(turns):
            text = f"{' '.join(draw.choices(WORDS, k=draw.randint(3, 20)))} {number}"
            row = {"dialogue": number // 10, "speaker": f"Speaker {number % 2}", "text": text}
            file.write(json.dumps(row) + "\n")


def predicted(path: Path, predictor: EmotionPredictor, out: Path) -> float:
    start = time.process_time()
    write_predictions(open_file(path, path.name), predictor, out, "discard")
    return time.process_time() - start


def scored(records: Sequence[Record], asked: Asked, folder: Path) -> tuple[float, list[str]]:
    start = time.process_time()
    prompts = asked.encoder.encode_all(records)
    replies = kept_replies(asked.scorer, prompts, {"model": "bench"}, folder, again=True)
    values = [reply.log_probs or () for reply in replies]
    labels = [SPACE[one.index(max(one))] for one in values]
    return time.process_time() - start, labels


def records_of(path: Path, predictor: EmotionPredictor) -> list[Record]:
    records, so_far, last = [], predictor._begin(), None
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        so_far = so_far if row["dialogue"] == last else predictor._begin()
        last = row["dialogue"]
        record = so_far.record_of(turn_of(row), "bench")
        assert record is not None
        records.append(record)
    return records


def throughput(path: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sizes = [
        f"source.hidden_size={arguments.hidden}",
        f"source.intermediate_size={arguments.hidden * 2}",
        f"source.num_hidden_layers={arguments.layers}",
    ]
    build_backbone("tiny", folder / "model", overrides=sizes)
    recipe = load_recipe("tiny", "backbone", BackboneRecipe, sizes).recipe
    model, tokenizer = load_backbone(recipe, folder / "model", device="cpu")
    prompt = load_prompt("dialogue-v1")
    encoder = Encoder(prompt, tokenizer, 512)
    first = [ids[:1] for ids in label_tokens(encoder, SPACE).values()]
    asked = Asked(LikelihoodScorer(model.eval(), first, arguments.batch_size), encoder)
    predictor = EmotionPredictor(asked, prompt, CHOICE)
    records = records_of(path, predictor)
    ours, theirs, labels = list[float](), list[float](), list[str]()
    for _ in range(arguments.rounds):
        seconds, labels = scored(records, asked, folder)
        theirs.append(seconds)
        ours.append(predicted(path, predictor, folder / "out.jsonl"))
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line)["label"] for line in lines]
    return {
        "turns": len(records),
        "scorer, records a second": len(records) / statistics.median(theirs),
        "predict, turns a second": len(records) / statistics.median(ours),
        "predict / scorer (goal: at least 0.9)": statistics.median(theirs) / statistics.median(ours),
        "labels differ": sum(one != label for one, label in zip(written, labels, strict=True)),
    }


def peak_of(path: Path, turns: int, folder: Path) -> dict[str, Any]:
    """The peak memory of a process that predicts a file with the stub."""
    if not path.exists():
        write_turns(path, turns)
    command = [sys.executable, __file__, "--stub", str(path), str(folder / "stub.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stub(path: Path, out: Path) -> None:
    predictor = EmotionPredictor(Stub(), load_prompt("dialogue-v1"), CHOICE)
    start = time.perf_counter()
    made = write_predictions(open_file(path, path.name), predictor, out, "discard")
    seconds = time.perf_counter() - start
    # Not ru_maxrss, which a process takes over from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"turns (stub model)": made.turns, "seconds": seconds, "peak memory, MB": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--stub", nargs=2, type=Path, metavar=("FILE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stub:
        stub(*arguments.stub)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short, long = folder / "short.jsonl", folder / "long.jsonl"
        write_turns(short, arguments.turns)
        results = [throughput(short, arguments, folder), peak_of(short, arguments.turns, folder)]
        results.append(peak_of(long, arguments.long, folder))
        for one in results:
            print(json.dumps({key: round(value, 2) for key, value in one.items()}))
        import torch

        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
