"""Scoring beside two other ways to ask the same model about the same records, in one run.

    python bench/scoring.py [--backbone smollm2-135m-gguf] [--rounds 5] [--records 64] [--device cuda]

first_token and full_likelihood are asked as `score run` asks. `label by label` is one plain pass a label over
prompt and completion, batched as ours, nothing shared. The authors' way is that of their scripts
(Dreamyao516/DialogueLLM, `py/myllama-generate-test.py`): batch 1, 4 beams, repetition penalty 1.15. It is
asked about `--few` records and forced to write `--new-tokens`, as the weights may be random: 4 are what it
takes where the model stops at once, 256 what it takes where the model does not stop.

The model is a LLaMA of random weights of `--hidden` and `--layers` with the tiny backbone's tokenizer, or the
backbone of a recipe (`make weights` gets smollm2-135m-gguf). A label is one token of both tokenizers; for
full_likelihood it gets up to two invented ones, as with LLaMA's. Each round runs every side once. Ratios on a
CPU are those of the processor's time, and those of the clock beside them; on a GPU those of the clock.

The share of the matmul peak is by the clock: 2 FLOPs a weight of the linear layers and token, without
padding, attention and output layer, over the largest rate of a matrix product just before and after. On a
busy machine it is too low. Last, `score run` is started in one and in two processes of one thread each:
records a second without the start, and both must write the same predictions.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import GenerationConfig

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import LABELS, Label
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.scoring.answers import Scorer
from dialoguellm_release.scoring.scorers import LikelihoodScorer, label_tokens
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.model import build_backbone
from dialoguellm_release.training.devices import hardware_name, matmul_flops
from dialoguellm_release.training.packs import linear_weights

SPACE: tuple[Label, ...] = LABELS[:7]
BEAMS = 4
GOAL_FIRST, GOAL_FULL, GOAL_SHARE = 20, 8, 0.70
Precision = Literal["float32", "bf16"]
COMMAND_LINE = "from dialoguellm_release.cli.main import main; main()"


class Took(NamedTuple):
    """Seconds a record, by the clock and of the processor, and what was answered."""

    clock: float
    processor: float
    answers: list[int]


def timed(prompts: Sequence[EncodedPrompt], work: Callable[[Sequence[EncodedPrompt]], list[int]]) -> Took:
    clock, processor = time.perf_counter(), time.process_time()
    answers = work(prompts)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return Took(clock / len(prompts), processor / len(prompts), answers)


def by_scorer(scorer: Scorer) -> Callable[[Sequence[EncodedPrompt]], list[int]]:
    """The best label of each prompt, as `score run` asks for it."""

    def asked(prompts: Sequence[EncodedPrompt]) -> list[int]:
        best = [0] * len(prompts)
        for batch in scorer.plan(prompts):
            for place, reply in zip(batch.places, scorer.replies(prompts, batch), strict=True):
                values = reply.log_probs or ()
                best[place] = values.index(max(values))
        return best

    return asked


def label_by_label(model: Any, completions: Sequence[list[int]], batch_size: int) -> Callable[..., list[int]]:
    """The best label of each prompt by one pass a label: right-padded batches of like length."""

    def asked(prompts: Sequence[EncodedPrompt]) -> list[int]:
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].ids), reverse=True)
        sums = torch.zeros(len(prompts), len(completions), dtype=torch.float64)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            for column, completion in enumerate(completions):
                rows = [prompts[place].ids + completion for place in places]
                length = max(map(len, rows))
                ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
                mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
                firsts = torch.tensor([len(prompts[place].ids) - 1 for place in places])
                with torch.inference_mode():
                    logits = model(
                        input_ids=ids.to(model.device),
                        attention_mask=mask.to(model.device),
                        use_cache=False,
                        logits_to_keep=torch.arange(int(firsts.min()), length - 1).to(model.device),
                    ).logits
                log_probs = logits.float().log_softmax(-1).cpu()
                for line, place in enumerate(places):
                    first = int(firsts[line] - firsts.min())
                    for step, token in enumerate(completion):
                        sums[place, column] += log_probs[line, first + step, token].double()
        best: list[int] = sums.argmax(1).tolist()
        return best

    return asked


def as_authors(model: Any, tokenizer: Any, new_tokens: int) -> Callable[..., list[int]]:
    """How many tokens were written, one record after another; each is kept from stopping before."""
    config = GenerationConfig(
        num_beams=BEAMS,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        repetition_penalty=1.15,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )

    def asked(prompts: Sequence[EncodedPrompt]) -> list[int]:
        written = []
        for prompt in prompts:
            ids = torch.tensor([prompt.ids], device=model.device)
            with torch.inference_mode():
                out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
            written.append(out.shape[1] - ids.shape[1])
        return written

    return asked


class Rounds:
    """What each side took in each round."""

    def __init__(self, *, on_gpu: bool) -> None:
        self.took: dict[str, list[Took]] = {}
        self.on_gpu = on_gpu

    def add(self, name: str, took: Took) -> Took:
        self.took.setdefault(name, []).append(took)
        return took

    def show(self, name: str) -> None:
        by_clock = [1000 * one.clock for one in self.took[name]]
        print(f"{name}: {spread(by_clock, '.2f')} ms a record by the clock")

    def ratio(self, ours: str, theirs: str, goal: float) -> None:
        pairs = list(zip(self.took[ours], self.took[theirs], strict=True))
        by_clock = spread([other.clock / own.clock for own, other in pairs])
        by_processor = spread([other.processor / own.processor for own, other in pairs])
        shown = by_clock if self.on_gpu else f"{by_processor} of the processor, {by_clock} by the clock"
        print(f"{theirs} / {ours}: {shown} (goal: at least {goal})")


def spread(values: Sequence[float], form: str = ".1f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--backbone", help="a backbone recipe that needs no download [default: random weights]"
    )
    parser.add_argument("--dataset", type=Path, help="[default: the demo's, built on the spot]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--label-records", type=int, default=32, help="records asked label by label")
    parser.add_argument("--few", type=int, default=2, help="records that the authors' way is asked about")
    parser.add_argument("--new-tokens", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-processes", action="store_true", help="leave out the last part")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        dataset = arguments.dataset or build_dataset("demo", out=work / "dataset").folder
        reference = arguments.backbone or random_backbone(work, arguments.hidden, arguments.layers)
        recipe = load_recipe(reference, "backbone", BackboneRecipe).recipe
        built = work / "backbones" / Path(reference).stem
        if isinstance(recipe.source, BuiltSource):
            build_backbone(reference, built)
        precision: Precision = "bf16" if arguments.device.startswith("cuda") else "float32"
        model, tokenizer = load_backbone(recipe, built, precision=precision, device=arguments.device)
        encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 768)
        records = list(islice(read_records(dataset, "meld", "test"), arguments.records))
        compare(model.eval(), tokenizer, encoder, encoder.encode_all(records), arguments)
        del model
        if arguments.device == "cpu" and not arguments.no_processes:
            in_processes(reference, dataset, work)


def random_backbone(work: Path, hidden: int, layers: int) -> str:
    path = work / "random.yaml"
    sizes = f"hidden_size: {hidden}, intermediate_size: {3 * hidden}, num_hidden_layers: {layers}"
    heads = f"num_attention_heads: {max(4, hidden // 64)}, initializer_range: 0.05"
    path.write_text(f"extends: tiny\ndescription: random weights\nsource: {{{sizes}, {heads}}}\n", "utf-8")
    return str(path)


def compare(
    model: Any,
    tokenizer: Any,
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    arguments: argparse.Namespace,
) -> None:
    on_gpu, size = arguments.device.startswith("cuda"), arguments.batch_size
    ones = list(label_tokens(encoder, SPACE).values())
    several = [tokens + [5 + place] * (place % 3) for place, tokens in enumerate(ones)]
    some, few = prompts[: arguments.label_records], prompts[: arguments.few]
    first = LikelihoodScorer(model, [tokens[:1] for tokens in ones], size)
    plan = first.plan(prompts)
    lengths = [[len(prompts[place].ids) - one.shared for place in one.places] for one in plan]
    own = sum(map(sum, lengths)) / len(prompts)
    with_padding = sum(max(some) * len(some) for some in lengths) / len(prompts)
    mean = statistics.mean(len(prompt.ids) for prompt in prompts)
    theirs = BEAMS * (mean + arguments.new_tokens - 1)
    print(
        f"{model.num_parameters() / 1e6:.1f} M parameters on {hardware_name(torch.get_num_threads())}; "
        f"{len(prompts)} records of {mean:.0f} tokens, {own:.1f} of them their own, with padding "
        f"{with_padding:.1f}, batches of {size}\n"
        f"tokens that pass through the model: authors' way {theirs:.0f} a record, first_token {own:.0f}: "
        f"{theirs / own:.1f} times"
    )
    rounds = Rounds(on_gpu=on_gpu)
    wide: tuple[Precision, ...] = ("bf16",) if on_gpu else ("float32", "bf16")
    share: dict[Precision, list[float]] = {precision: [] for precision in wide}
    exact = model.dtype
    by_scorer(first)(some)
    for _ in range(arguments.rounds):
        for precision in wide:
            model.to(torch.bfloat16 if precision == "bf16" else exact)
            peak = matmul_flops(precision)
            scorer = LikelihoodScorer(model, [tokens[:1] for tokens in ones], size)
            took = rounds.add(f"first_token, {precision}", timed(prompts, by_scorer(scorer)))
            peak = max(peak, matmul_flops(precision))
            share[precision].append(2 * linear_weights(model) * own / took.clock / peak)
            if precision == wide[0]:
                rounds.add("the authors' way", timed(few, as_authors(model, tokenizer, arguments.new_tokens)))
                ours, plain = LikelihoodScorer(model, several, size), label_by_label(model, several, size)
                best = rounds.add("full_likelihood", timed(some, by_scorer(ours))).answers
                other = rounds.add("label by label", timed(some, plain)).answers
                same = sum(one == two for one, two in zip(best, other, strict=True))
                if same < len(some):
                    print(f"full_likelihood and label by label: {same} of {len(some)} answers are the same")
        if not on_gpu:
            # What bf16 rounded stays rounded: the same for all sides, and for the speed no matter.
            model.to(exact)
    for name in rounds.took:
        rounds.show(name)
    for precision, values in share.items():
        print(f"first_token, {precision}: {spread(values, '.2f')} of the matmul peak (goal: {GOAL_SHARE})")
    rounds.ratio(f"first_token, {wide[0]}", "the authors' way", GOAL_FIRST)
    rounds.ratio("full_likelihood", "label by label", GOAL_FULL)


def in_processes(backbone: str, dataset: Path, work: Path) -> None:
    """How fast `score run` is in one and in two processes, and whether both write the same."""
    rates, written = [], []
    for count in (1, 2):
        out = work / f"score-{count}"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        command = [sys.executable, *launcher, "--no-python", sys.executable, "-c", COMMAND_LINE]
        command += ["score", "run", "meld", "--backbone", backbone, "--dataset", str(dataset)]
        command += ["--backbones", str(work / "backbones"), "--cache", f"{out}-cache", "--out", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        shown = re.findall(r"^score: .*?([\d.,]+)/s", done.stderr, re.MULTILINE)
        if done.returncode or not shown:
            sys.exit(done.stderr)
        rates.append(float(shown[-1].replace(",", "")))
        written.append((out / "predictions.parquet").read_bytes())
    same = "the same predictions" if written[0] == written[1] else "OTHER PREDICTIONS"
    one, two = rates
    print(
        f"score run, records a second: {one:.1f}, in two processes {two:.1f} ({two / one:.2f} times), {same}"
    )


if __name__ == "__main__":
    main()
