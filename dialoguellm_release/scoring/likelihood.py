"""How likely a model finds each label after each prompt: no text is generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.labels import Label

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

Scorer = Literal["first_token", "full_likelihood"]


def label_probabilities(
    model: PreTrainedModel,
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    labels: Sequence[Label],
    scorer: Scorer,
    batch_size: int,
) -> NDArray[np.float64]:
    """The probability of each label (column) for each prompt (row); each row sums to 1.

    Args:
        scorer: `first_token` compares the first token of each label; `full_likelihood` all of its
            tokens and the end-of-sequence token.
        batch_size: Sequences in one forward pass; the prompts are taken by length, whatever their order.

    Raises:
        DataError: `first_token` is asked for, but two labels begin with the same token.
    """
    import numpy as np
    import torch

    completions = {label: encoder.completion_ids(label) for label in labels}
    prompt_ids = [prompt.ids for prompt in prompts]
    with torch.inference_mode():
        if scorer == "first_token":
            scores = _first_token_scores(model, prompt_ids, _first_tokens(completions), batch_size)
        else:
            scores = _full_scores(model, prompt_ids, list(completions.values()), batch_size)
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def _first_tokens(completions: dict[Label, list[int]]) -> list[int]:
    first = {label: ids[0] for label, ids in completions.items()}
    shared = [label for label, token in first.items() if list(first.values()).count(token) > 1]
    if shared:
        raise DataError(
            Problem(
                "scorer first_token",
                "cannot tell labels apart that begin with the same token",
                expected="a first token of its own for each label",
                got=", ".join(f"{label} ({first[label]})" for label in shared),
                fix="set scorer: full_likelihood in the score recipe",
            )
        )
    return list(first.values())


def _first_token_scores(
    model: PreTrainedModel, prompts: list[list[int]], tokens: list[int], batch_size: int
) -> NDArray[np.float64]:
    import numpy as np

    scores = np.empty((len(prompts), len(tokens)))
    with progress("score", len(prompts)) as advance:
        for batch in _by_length(prompts, batch_size):
            ends = [len(prompts[index]) - 1 for index in batch]
            positions = sorted(set(ends))
            logits = _logits(model, [prompts[index] for index in batch], positions)
            for row, (index, end) in enumerate(zip(batch, ends, strict=True)):
                scores[index] = logits[row, positions.index(end), tokens].cpu().numpy()
            advance(len(batch))
    return scores


def _full_scores(
    model: PreTrainedModel, prompts: list[list[int]], completions: list[list[int]], batch_size: int
) -> NDArray[np.float64]:
    import numpy as np

    sequences = [prompt + completion for prompt in prompts for completion in completions]
    starts = [len(prompt) for prompt in prompts for _ in completions]
    scores = np.empty(len(sequences))
    with progress("score", len(sequences)) as advance:
        for batch in _by_length(sequences, batch_size):
            first = min(starts[index] for index in batch) - 1
            positions = list(range(first, max(len(sequences[index]) for index in batch) - 1))
            log_probs = _logits(model, [sequences[index] for index in batch], positions).log_softmax(-1)
            for row, index in enumerate(batch):
                completion = sequences[index][starts[index] :]
                at = range(starts[index] - 1 - first, len(sequences[index]) - 1 - first)
                scores[index] = log_probs[row, list(at), completion].double().sum().item()
            advance(len(batch))
    return scores.reshape(len(prompts), len(completions))


def _by_length(sequences: list[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of like length; the longest first, so that too little memory shows at once."""
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]), reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _logits(model: PreTrainedModel, sequences: list[list[int]], positions: list[int]) -> torch.Tensor:
    """The logits at the same positions of each sequence, in float32.

    Why: padding stands on the right, where no token of a causal model can see it; and only the
    positions that are asked for pass through the output layer.
    """
    import torch

    longest = max(map(len, sequences))
    input_ids = torch.zeros((len(sequences), longest), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(sequences):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
    logits: torch.Tensor = model(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        logits_to_keep=torch.tensor(positions, device=model.device),
        use_cache=False,
    ).logits
    return logits.float()
