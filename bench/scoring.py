"""Seconds a record of three ways to score one model on the same records: ours, label by label, the authors'.

    python bench/scoring.py [--dataset DIR] [--records 64] [--authors-records 4] [--hidden 512] [--layers 8]

Ours is `first_token` and `full_likelihood` as `score run` takes them. `label by label` is one plain pass a
label over prompt and completion, batched as ours, nothing shared. The authors' way is that of their scripts
(Dreamyao516/DialogueLLM, `py/myllama-generate-test.py`): batch 1, 4 beams, up to 256 new tokens, repetition
penalty 1.15. It takes so long that only the first few records are asked, and its time is the mean over those.
How long it takes hangs on when the model stops: 256 tokens are what one takes that does not stop, 4 what one
takes that answers with a label; both are forced, as the model's weights are random.

The model is a LLaMA of random weights in float32 with the tiny backbone's tokenizer. Times are those of the
processor, so that a crowded machine does not decide. Goals on a CPU: ours 50 times faster than the authors'
way, `full_likelihood` 4 times faster than label by label, the same argmax.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import LABELS, Label
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.scoring.answers import Scorer
from dialoguellm_release.scoring.scorers import LikelihoodScorer, label_tokens
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.model import build_backbone

SPACE: tuple[Label, ...] = LABELS[:7]


def timed(work: Callable[..., list[int]], *arguments: Any) -> tuple[float, list[int]]:
    start = time.process_time()
    answers = work(*arguments)
    return time.process_time() - start, answers


def by_scorer(scorer: Scorer, prompts: Sequence[EncodedPrompt]) -> list[int]:
    """The best label of each prompt, as `score run` asks for it."""
    best = [0] * len(prompts)
    for batch in scorer.plan(prompts):
        for place, reply in zip(batch.places, scorer.replies(prompts, batch), strict=True):
            values = reply.log_probs or ()
            best[place] = values.index(max(values))
    return best


def label_by_label(
    model: Any, prompts: Sequence[EncodedPrompt], completions: Sequence[list[int]], batch_size: int
) -> list[int]:
    """The best label of each prompt by one pass a label: right-padded batches of like length."""
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].ids), reverse=True)
    sums = torch.zeros(len(prompts), len(completions), dtype=torch.float64)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        for column, completion in enumerate(completions):
            rows = [prompts[place].ids + completion for place in places]
            length = max(map(len, rows))
            ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
            with torch.inference_mode():
                log_probs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
            for line, place in enumerate(places):
                first = len(prompts[place].ids) - 1
                for step, token in enumerate(completion):
                    sums[place, column] += log_probs[line, first + step, token].double()
    return sums.argmax(1).tolist()


def as_authors(model: Any, tokenizer: Any, prompts: Sequence[EncodedPrompt], new_tokens: int) -> list[int]:
    """How many tokens were written, one record after another; each is kept from stopping before."""
    config = GenerationConfig(
        num_beams=4,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        repetition_penalty=1.15,
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    written = []
    for prompt in prompts:
        ids = torch.tensor([prompt.ids])
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        written.append(out.shape[1] - ids.shape[1])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, help="[default: the demo's, built on the spot]")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--authors-records", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    with tempfile.TemporaryDirectory() as folder:
        dataset = arguments.dataset or build_dataset("demo", out=Path(folder, "dataset")).folder
        sizes = [
            f"source.hidden_size={arguments.hidden}",
            f"source.intermediate_size={3 * arguments.hidden}",
            f"source.num_hidden_layers={arguments.layers}",
            f"source.num_attention_heads={max(4, arguments.hidden // 64)}",
            "source.initializer_range=0.05",
        ]
        recipe = load_recipe("tiny", "backbone", BackboneRecipe, sizes)
        build_backbone("tiny", Path(folder, "backbone"), overrides=sizes)
        model, tokenizer = load_backbone(recipe.recipe, Path(folder, "backbone"))
        model = model.float().eval()
        encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 768)
        records = list(islice(read_records(dataset, "meld", "test"), arguments.records))
        prompts = encoder.encode_all(records)
        compare(model, tokenizer, encoder, prompts, arguments)


def compare(
    model: Any,
    tokenizer: Any,
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    arguments: argparse.Namespace,
) -> None:
    # A label is one token of this tokenizer; with LLaMA's it is one to three, which is tried as well.
    ones = list(label_tokens(encoder, SPACE).values())
    several = [tokens + [5 + place] * (place % 3) for place, tokens in enumerate(ones)]
    mean = sum(len(prompt.ids) for prompt in prompts) / len(prompts)
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(prompts)} records of "
        f"{mean:.0f} tokens on average, batches of {arguments.batch_size}, {torch.get_num_threads()} threads"
    )
    by_scorer(LikelihoodScorer(model, ones, arguments.batch_size), prompts[: arguments.batch_size])
    few = prompts[: arguments.authors_records]
    size = arguments.batch_size
    for name, completions in (("one token a label", ones), ("one to three tokens a label", several)):
        ours, best = timed(by_scorer, LikelihoodScorer(model, completions, size), prompts)
        plain, wanted = timed(label_by_label, model, prompts, completions, size)
        same = sum(one == other for one, other in zip(best, wanted, strict=True))
        print(
            f"{name}: full_likelihood {1000 * ours / len(prompts):.2f} ms a record, label by label "
            f"{1000 * plain / len(prompts):.2f}: {plain / ours:.1f} times; "
            f"same argmax {same} of {len(prompts)}"
        )
    first = [tokens[:1] for tokens in ones]
    ours, _ = timed(by_scorer, LikelihoodScorer(model, first, size), prompts)
    each = ours / len(prompts)
    print(f"first_token: {1000 * each:.2f} ms a record")
    for new_tokens in (256, 4):
        authors, _ = timed(as_authors, model, tokenizer, few, new_tokens)
        print(
            f"authors' way, {new_tokens} new tokens: {1000 * authors / len(few):.0f} ms a record (mean over "
            f"{len(few)}): {authors / len(few) / each:.0f} times first_token"
        )


if __name__ == "__main__":
    main()
