"""The log-probability of each label after each prompt, with shared computation done once.

Prompts with one instruction share a prefix: its keys and values are computed once for all batches. All
labels of a prompt are scored in one pass: their tokens follow the prompt side by side, and the attention
mask lets each token see the prompt and its own label only. Both are exact; a test compares the sums with one
plain pass per label in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.scoring.answers import Batch, Reply

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel


class LikelihoodScorer:
    """The log-probability of each completion after each prompt.

    Args:
        completions: Token ids of each label's completion, or the first token only.
        batch_size: Prompts in one forward pass.
    """

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
        """The log-probabilities of one batch.

        Raises:
            DataError: A log-probability is NaN.
        """
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
                raise DataError(_not_a_number(prompts[place]))
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


def _not_a_number(prompt: EncodedPrompt) -> Problem:
    return Problem(
        prompt.record.id,
        "the log-probabilities of this record are NaN",
        fix="check that the adapter belongs to this backbone and that the weights of both are finite",
        code="score.nan",
    )


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
