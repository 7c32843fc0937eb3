from __future__ import annotations

from typing import Any

import pytest

from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.scoring.answers import parse
from dialoguellm_release.scoring.scorers import GenerationScorer

SPACE = LABELS[:7]


def texts(replies: list[Any]) -> list[str]:
    return [reply.text for reply in replies]


def greedy(model: Any, prompt: list[int], completions: list[list[int]]) -> list[int]:
    """The likeliest way down the completions, one token after the other, each by a plain pass."""
    import torch

    written: list[int] = []
    while True:
        following = sorted({ids[len(written)] for ids in completions if ids[: len(written)] == written})
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + written])).logits[0, -1]
        written.append(max(following, key=lambda token: logits[token].item()))
        if written in completions:
            return written


def test_held_to_the_labels_it_takes_the_likeliest_way(asked: Any, records_of: Any, replies_of: Any) -> None:
    model, tokenizer, encoder = asked
    prompts = encoder.encode_all(records_of("test", 9))
    whole = [encoder.completion_ids(label) for label in SPACE]
    scorer = GenerationScorer(model, tokenizer, max(map(len, whole)), 4, whole)
    expected = [tokenizer.decode(greedy(model, prompt.ids, whole)[:-1]) for prompt in prompts]
    found = texts(replies_of(scorer, prompts))
    assert found == expected
    assert all(parse(text, SPACE) is not None for text in found)


@pytest.mark.parametrize("side", ["left", "right"])
def test_free_text_depends_on_neither_batch_nor_padding_side(
    side: str, asked: Any, records_of: Any, replies_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer, encoder = asked
    prompts = encoder.encode_all(records_of("test", 6))
    alone = texts(replies_of(GenerationScorer(model, tokenizer, 6, 1), prompts))
    monkeypatch.setattr(tokenizer, "padding_side", side)
    assert texts(replies_of(GenerationScorer(model, tokenizer, 6, 6), prompts)) == alone


def test_a_model_that_would_rather_sample_does_not(
    asked: Any, records_of: Any, replies_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GenerationConfig

    model, tokenizer, encoder = asked
    prompts = encoder.encode_all(records_of("test", 4))
    plain = texts(replies_of(GenerationScorer(model, tokenizer, 6, 4), prompts))
    wild = GenerationConfig(do_sample=True, temperature=5.0, top_k=0)
    monkeypatch.setattr(model, "generation_config", wild)
    assert texts(replies_of(GenerationScorer(model, tokenizer, 6, 4), prompts)) == plain
