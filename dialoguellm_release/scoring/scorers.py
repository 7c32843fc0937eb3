"""The scorers by name: how each asks a model that runs here, and reads its replies."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import AuthorsScript
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.scores import ScoreRecipe, ScorerName
from dialoguellm_release.scoring.answers import Answer, Batch, Reply, Scorer, parse, parse_as_authors

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase


class LikelihoodScorer:
    """The log-probability of each completion, of which the token ids are given, after each prompt."""

    def __init__(self, model: PreTrainedModel, completions: Sequence[list[int]], batch_size: int) -> None:
        self._model = model
        self._completions = completions
        self._batch_size = batch_size
        self._prefix: tuple[list[int], Cache] | None = None

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        """Batches of one instruction and similar length, the longest first: lack of memory shows early."""
        groups: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            groups.setdefault(prompt.record.instruction, []).append(place)
        return [
            Batch(tuple(places), shared)
            for group in groups.values()
            for shared in [_in_common([prompts[place].ids for place in group])]
            for places in batched_by_length(group, prompts, self._batch_size)
        ]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The log-probabilities of one batch."""
        import torch

        ids = [prompts[place].ids for place in batch.places]
        with torch.inference_mode():
            prefix = self._prefix_of(ids[0][: batch.shared])
            if prefix is not None:
                prefix = copy.deepcopy(prefix)
                prefix.batch_repeat_interleave(len(ids))
            suffixes = [one[batch.shared :] for one in ids]
            rows = _log_likelihoods(self._model, prefix, batch.shared, suffixes, self._completions)
        for place, row in zip(batch.places, rows, strict=True):
            if row.isnan().any():
                what = "the log-probabilities of this record are NaN"
                fix = (
                    "check that the adapter belongs to this backbone and that the weights of both are finite"
                )
                raise DataError(Problem(prompts[place].record.id, what, fix=fix, code="score.nan"))
        return [Reply(log_probs=tuple(row)) for row in rows.tolist()]

    def _prefix_of(self, ids: list[int]) -> Cache | None:
        """The keys and values of a prefix; those of the previous prefix are released."""
        import torch

        if not ids:
            return None
        if self._prefix is None or self._prefix[0] != ids:
            passed = self._model(
                input_ids=torch.tensor([ids], device=self._model.device), use_cache=True, logits_to_keep=1
            )
            self._prefix = (ids, passed.past_key_values)
        return self._prefix[1]


def batched_by_length(
    places: Sequence[int], prompts: Sequence[EncodedPrompt], batch_size: int
) -> Iterator[list[int]]:
    """Indices of prompts in batches of similar length, the longest first."""
    order = sorted(places, key=lambda place: len(prompts[place].ids), reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _in_common(sequences: list[list[int]]) -> int:
    """The length of the common prefix; each sequence keeps at least one token after it."""
    first, last = min(sequences), max(sequences)
    most = min(map(len, sequences)) - 1
    return next((place for place in range(most) if first[place] != last[place]), most)


def _log_likelihoods(
    model: PreTrainedModel,
    prefix: Cache | None,
    prefix_length: int,
    suffixes: list[list[int]],
    completions: Sequence[list[int]],
) -> torch.Tensor:
    """The log-probability of each completion (column) after prefix and suffix (row), on the CPU.

    A row holds padding, the suffix, and of each completion all but its last token. Padding is on the left,
    so that the positions whose logits are needed are the same in each row.
    """
    import torch

    length = max(map(len, suffixes))
    padding = [length - len(suffix) for suffix in suffixes]
    tails = [completion[:-1] for completion in completions]
    tail_ids = [token for tail in tails for token in tail]
    input_ids = torch.tensor(
        [[0] * pad + suffix + tail_ids for pad, suffix in zip(padding, suffixes, strict=True)]
    )
    offsets = [[place - pad for place in range(length)] for pad in padding]
    positions = torch.tensor(
        [row + [row[-1] + 1 + step for tail in tails for step in range(len(tail))] for row in offsets]
    )
    logits = model(
        input_ids=input_ids.to(model.device),
        attention_mask=_mask(padding, length, tails, prefix_length).to(model.device, model.dtype),
        position_ids=(positions.clamp(min=0) + prefix_length).to(model.device),
        past_key_values=prefix,
        use_cache=prefix is not None,
        logits_to_keep=len(tail_ids) + 1,
    ).logits
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    sums, start = [], 1
    for completion in completions:
        places = [0, *range(start, start + len(completion) - 1)]
        sums.append(log_probs[:, places, completion].double().sum(-1))
        start += len(completion) - 1
    return torch.stack(sums, dim=1).cpu()


def _mask(padding: list[int], length: int, tails: list[list[int]], prefix_length: int) -> torch.Tensor:
    """The additive attention mask: 0 where a token may attend, the lowest number elsewhere.

    Each token attends to itself, so that no row of the softmax is empty, and to the prefix; a token of a
    suffix to those before it, a token of a completion to the suffix and the earlier tokens of its completion.
    """
    import torch

    own = torch.arange(length + sum(map(len, tails)))
    block = torch.tensor([0] * length + [1 + place for place, tail in enumerate(tails) for _ in tail])
    is_earlier = own[:, None] >= own[None, :]
    is_in_reach = (block[:, None] == block[None, :]) | (block[None, :] == 0)
    is_real = own[None, None, :] >= torch.tensor(padding)[:, None, None]
    may_see = (is_earlier & is_in_reach)[None] & is_real | torch.eye(len(own), dtype=torch.bool)[None]
    whole = torch.nn.functional.pad(may_see, (prefix_length, 0), value=True)
    return torch.where(whole, 0.0, torch.finfo(torch.bfloat16).min)[:, None].to(torch.float32)


class GenerationScorer:
    """Greedy generation of free text, or of completions alone, whose ids end with that of the end of text."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int,
        batch_size: int,
        completions: Sequence[list[int]] | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_new_tokens = max_new_tokens
        self._batch_size = batch_size
        self._completions = completions

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        """Batches of similar length, the longest first."""
        batches = batched_by_length(range(len(prompts)), prompts, self._batch_size)
        return [Batch(tuple(places)) for places in batches]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The texts of one batch. Padding is on the left, whatever the tokenizer's side."""
        import torch
        from transformers import GenerationConfig

        ids = [prompts[place].ids for place in batch.places]
        length = max(map(len, ids))
        eos, device = self._tokenizer.eos_token_id, self._model.device
        # Not the configuration of the model, which may ask for sampling.
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=eos,
            pad_token_id=eos,
        )
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=torch.tensor([[eos] * (length - len(one)) + one for one in ids], device=device),
                attention_mask=torch.tensor(
                    [[0] * (length - len(one)) + [1] * len(one) for one in ids], device=device
                ),
                generation_config=config,
                prefix_allowed_tokens_fn=self._allowed(length, eos),
            )
        texts = self._tokenizer.batch_decode(written[:, length:], skip_special_tokens=True)
        return [Reply(text=text) for text in texts]

    def _allowed(self, start: int, eos: int) -> Callable[[int, torch.Tensor], list[int]] | None:
        """Which tokens may follow, as `generate` asks it; None where all may."""
        if self._completions is None:
            return None
        following: dict[tuple[int, ...], set[int]] = {}
        for completion in self._completions:
            for place, token in enumerate(completion):
                following.setdefault(tuple(completion[:place]), set()).add(token)
        sorted_following = {written: sorted(tokens) for written, tokens in following.items()}

        def allowed(_row: int, ids: torch.Tensor) -> list[int]:
            return sorted_following.get(tuple(ids[start:].tolist()), [eos])

        return allowed


SHARED_REPLIES: dict[ScorerName, ScorerName] = {
    "full_likelihood_per_token": "full_likelihood",
    "authors_parser": "free_generation",
}
"""Scorers that ask the model as another one does, and only read its replies in another way."""


def label_tokens(encoder: Encoder, labels: Sequence[Label]) -> dict[Label, list[int]]:
    """The tokens of each label as they follow a prompt, without the end-of-sequence token."""
    return {label: encoder.completion_ids(label)[:-1] for label in labels}


def alike_at_first(tokens: dict[Label, list[int]]) -> list[Label]:
    """The labels whose first token is also that of another."""
    first = [ids[0] for ids in tokens.values()]
    return [label for label, ids in tokens.items() if first.count(ids[0]) > 1]


def chosen_scorer(wanted: Literal["auto"] | ScorerName, tokens: dict[Label, list[int]]) -> ScorerName:
    """The scorer to take: `auto` is `first_token` where no two labels share their first token."""
    alike = alike_at_first(tokens)
    if wanted == "auto":
        return "full_likelihood" if alike else "first_token"
    if wanted == "first_token" and alike:
        raise DataError(
            Problem(
                "scorer first_token",
                "two labels begin with the same token",
                expected="a different first token for each label",
                got=", ".join(f"{label} ({tokens[label][0]})" for label in alike),
                fix="set scorer: full_likelihood in the score recipe, or auto",
                code="score.shared_first_token",
            )
        )
    return wanted


def make_scorer(
    way: ScorerName,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    labels: Sequence[Label],
    settings: ScoreRecipe,
) -> Scorer:
    """The scorer that asks a model in one way."""
    tokens = list(label_tokens(encoder, labels).values())
    if way == "first_token":
        return LikelihoodScorer(model, [ids[:1] for ids in tokens], settings.batch_size)
    if way == "full_likelihood":
        return LikelihoodScorer(model, tokens, settings.batch_size)
    if way == "free_generation":
        return GenerationScorer(model, tokenizer, settings.max_new_tokens, settings.batch_size)
    whole = [encoder.completion_ids(label) for label in labels]
    return GenerationScorer(model, tokenizer, max(map(len, whole)), settings.batch_size, whole)


def read_reply(
    name: ScorerName, reply: Reply, tokens: dict[Label, list[int]], script: AuthorsScript
) -> Answer:
    """The answer that a scorer reads in a reply, by the tokens of each label in the order of the reply."""
    labels = list(tokens)
    if reply.log_probs is not None:
        lengths = [len(ids) for ids in tokens.values()] if name == "full_likelihood_per_token" else None
        values = [value / (lengths[place] if lengths else 1) for place, value in enumerate(reply.log_probs)]
        return Answer(labels[values.index(max(values))], scores=softmax(values))
    text = reply.text or ""
    if name != "authors_parser":
        return Answer(parse(text, labels), text=text)
    found = parse_as_authors(text, script)
    if found == "drawn":
        return Answer(None, is_drawn=True, text=text)
    return Answer(found if found in labels else None, text=text)


def softmax(values: Sequence[float]) -> tuple[float, ...]:
    """Probabilities that sum to 1 over the labels."""
    exponentials = [math.exp(value - max(values)) for value in values]
    return tuple(value / sum(exponentials) for value in exponentials)
