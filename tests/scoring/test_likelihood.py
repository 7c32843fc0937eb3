"""Shared computation changes nothing: every log-probability is that of one plain pass a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import LABELS, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.scorers import LikelihoodScorer, label_tokens

SPACE = LABELS[:7]


def log_probs(replies: list[Any]) -> np.ndarray[Any, Any]:
    return np.array([reply.log_probs for reply in replies])


def test_they_are_those_of_a_plain_pass_for_each_label_in_float64(
    asked: Any, records_of: Callable[[Split, int], list[Record]], plain_log_probs: Any, replies_of: Any
) -> None:
    model, _, encoder = asked
    prompts = encoder.encode_all(records_of("test", 12))
    assert len({prompt.record.instruction for prompt in prompts}) == 2
    assert len({len(prompt.ids) for prompt in prompts}) > 4
    tokens = list(label_tokens(encoder, SPACE).values())
    steps = [[plain_log_probs(model, prompt.ids, ids) for ids in tokens] for prompt in prompts]
    whole = log_probs(replies_of(LikelihoodScorer(model, tokens, 5), prompts))
    assert whole == pytest.approx(np.array([[sum(one) for one in row] for row in steps]), abs=1e-10)
    first = log_probs(replies_of(LikelihoodScorer(model, [ids[:1] for ids in tokens], 5), prompts))
    assert first == pytest.approx(np.array([[one[0] for one in row] for row in steps]), abs=1e-10)


def test_the_prompts_of_one_instruction_share_its_beginning(asked: Any, records_of: Any) -> None:
    model, _, encoder = asked
    prompts = encoder.encode_all(records_of("test", 12))
    batches = LikelihoodScorer(model, [[5]], 4).plan(prompts)
    assert sorted(place for batch in batches for place in batch.places) == list(range(12))
    for batch in batches:
        ids = [prompts[place].ids for place in batch.places]
        assert len({tuple(one[: batch.shared]) for one in ids}) == 1
        assert batch.shared > 20
        assert len({prompts[place].record.instruction for place in batch.places}) == 1
        lengths = [len(one) for one in ids]
        assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_and_order_do_not_change_a_prediction(
    batch_size: int, asked: Any, records_of: Any, replies_of: Any
) -> None:
    model, _, encoder = asked
    prompts = encoder.encode_all(records_of("test", 20))
    tokens = list(label_tokens(encoder, SPACE).values())
    expected = log_probs(replies_of(LikelihoodScorer(model, tokens, 8), prompts))
    found = log_probs(replies_of(LikelihoodScorer(model, tokens, batch_size), prompts[::-1]))[::-1]
    assert found == pytest.approx(expected, abs=1e-10)
    assert found.argmax(1).tolist() == expected.argmax(1).tolist()


def test_in_single_precision_too(asked: Any, records_of: Any, replies_of: Any) -> None:
    import copy

    import torch

    model, _, encoder = asked
    single = copy.deepcopy(model).to(torch.float32)
    prompts = encoder.encode_all(records_of("test", 20))
    tokens = list(label_tokens(encoder, SPACE).values())
    exact = log_probs(replies_of(LikelihoodScorer(model, tokens, 8), prompts))
    for batch_size in (1, 16):
        found = log_probs(replies_of(LikelihoodScorer(single, tokens, batch_size), prompts))
        assert found == pytest.approx(exact, abs=1e-4)
        assert found.argmax(1).tolist() == exact.argmax(1).tolist()


def test_one_prompt_alone_and_prompts_that_are_alike_are_scored(
    asked: Any, records_of: Any, replies_of: Any, plain_log_probs: Any
) -> None:
    model, _, encoder = asked
    tokens = list(label_tokens(encoder, SPACE).values())
    (alone,) = encoder.encode_all(records_of("test", 1))
    expected = [sum(plain_log_probs(model, alone.ids, ids)) for ids in tokens]
    for prompts in ([alone], [alone, alone]):
        for row in log_probs(replies_of(LikelihoodScorer(model, tokens, 2), prompts)):
            assert row == pytest.approx(expected, abs=1e-10)


def test_what_is_not_a_number_is_told_with_its_record(asked: Any, records_of: Any, replies_of: Any) -> None:
    import copy

    import torch

    model, _, encoder = asked
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.lm_head.weight[0, 0] = float("nan")
    prompts = encoder.encode_all(records_of("test", 2))
    with pytest.raises(DataError) as raised:
        replies_of(LikelihoodScorer(broken, [[5], [6]], 2), prompts)
    assert raised.value.problems[0].where.startswith("meld/test/")
