"""What a model writes after a prompt: held to the labels, or freely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.scoring.answers import Batch, Reply
from dialoguellm_release.scoring.likelihood import batched_by_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class GenerationScorer:
    """The text that a model finds likeliest, token by token (greedy).

    Args:
        max_new_tokens: Longest text.
        batch_size: Prompts in one forward pass.
        completions: The only texts that may be written, as ids that end with the end-of-sequence token;
            None lets the model write what it likes.
    """

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
        """Batches of like length, the longest first."""
        batches = batched_by_length(range(len(prompts)), prompts, self._batch_size)
        return [Batch(tuple(places)) for places in batches]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The texts of one batch. Padding stands in front, whatever the tokenizer's side."""
        import torch
        from transformers import GenerationConfig

        ids = [prompts[place].ids for place in batch.places]
        length = max(map(len, ids))
        eos = self._tokenizer.eos_token_id
        # A configuration of our own: that of a published model may ask for sampling.
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=eos,
            pad_token_id=eos,
        )
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=torch.tensor([[eos] * (length - len(one)) + one for one in ids]).to(
                    self._model.device
                ),
                attention_mask=torch.tensor([[0] * (length - len(one)) + [1] * len(one) for one in ids]).to(
                    self._model.device
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
