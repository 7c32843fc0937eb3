"""The scorers by name: how each asks a model and reads its replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import ScorerName
from dialoguellm_release.scoring.answers import Answer, Batch, Reply, Scorer, parse, parse_as_authors
from dialoguellm_release.scoring.likelihood import LikelihoodScorer, batched_by_length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class GenerationScorer:
    """Greedy generation.

    Args:
        max_new_tokens: Longest text.
        batch_size: Prompts in one forward pass.
        completions: The only texts that may be written, as ids that end with the end-of-sequence token;
            None for free text.
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
        """Batches of similar length, the longest first."""
        batches = batched_by_length(range(len(prompts)), prompts, self._batch_size)
        return [Batch(tuple(places)) for places in batches]

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The texts of one batch. Padding is on the left, whatever the tokenizer's side."""
        import torch
        from transformers import GenerationConfig

        ids = [prompts[place].ids for place in batch.places]
        length = max(map(len, ids))
        eos = self._tokenizer.eos_token_id
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


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Way = Literal["first_token", "full_likelihood", "constrained_generation", "free_generation"]
_WAYS: dict[ScorerName, Way] = {
    "first_token": "first_token",
    "full_likelihood": "full_likelihood",
    "full_likelihood_per_token": "full_likelihood",
    "constrained_generation": "constrained_generation",
    "free_generation": "free_generation",
    "authors_parser": "free_generation",
}


def way_of(name: ScorerName) -> Way:
    """How a scorer asks the model; scorers that ask in the same way share their replies."""
    return _WAYS[name]


def label_tokens(encoder: Encoder, labels: Sequence[Label]) -> dict[Label, list[int]]:
    """The tokens of each label as they follow a prompt, without the end-of-sequence token."""
    return {label: encoder.completion_ids(label)[:-1] for label in labels}


def alike_at_first(tokens: dict[Label, list[int]]) -> list[Label]:
    """The labels whose first token is also that of another."""
    first = [ids[0] for ids in tokens.values()]
    return [label for label, ids in tokens.items() if first.count(ids[0]) > 1]


def chosen_scorer(wanted: Literal["auto"] | ScorerName, tokens: dict[Label, list[int]]) -> ScorerName:
    """The scorer to take: `auto` is `first_token` where no two labels share their first token.

    Raises:
        DataError: `first_token` is asked for, but two labels begin with the same token.
    """
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
    way: Way,
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


def read_reply(name: ScorerName, reply: Reply, tokens: dict[Label, list[int]], corpus: CorpusName) -> Answer:
    """The answer that a scorer reads in a reply.

    Args:
        tokens: Of each label, in the order of the label space and of the reply's log-probabilities.
    """
    labels = list(tokens)
    if reply.log_probs is not None:
        lengths = [len(ids) for ids in tokens.values()] if name == "full_likelihood_per_token" else None
        values = [value / (lengths[place] if lengths else 1) for place, value in enumerate(reply.log_probs)]
        return Answer(labels[values.index(max(values))], scores=softmax(values))
    text = reply.text or ""
    if name != "authors_parser":
        return Answer(parse(text, labels), text=text)
    found = parse_as_authors(text, corpus)
    if found == "drawn":
        return Answer(None, is_drawn=True, text=text)
    return Answer(found if found in labels else None, text=text)


def softmax(values: Sequence[float]) -> tuple[float, ...]:
    """Probabilities that sum to 1 over the labels."""
    exponentials = [math.exp(value - max(values)) for value in values]
    return tuple(value / sum(exponentials) for value in exponentials)
