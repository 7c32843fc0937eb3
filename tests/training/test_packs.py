"""Packs: every sequence sees what it sees alone, and learns what it learns alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.errors import RecipeError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, Packing
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.training.attention import (
    attention_for_packs,
    boolean_mask,
    ragged,
    segments_of,
)
from dialoguellm_release.training.data import EpochOrder, Row
from dialoguellm_release.training.packs import pack, pack_size, packed, padded, summed_loss
from dialoguellm_release.training.sft import tune
from dialoguellm_release.training.shortcuts import (
    lora_in_place,
    only_needed_in_last_layer,
    parts_after_the_keys,
)

if TYPE_CHECKING:
    import torch

VOCABULARY = 64
LORA: dict[str, Any] = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 12, "target_modules": "all-linear"}
ARCHITECTURES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("llama", {}, "sdpa"),
    ("llama", {}, "eager"),
    ("mistral", {"sliding_window": None}, "sdpa"),
    ("mistral", {"sliding_window": 64}, "sdpa"),
    ("qwen2", {}, "sdpa"),
    ("qwen3", {"head_dim": 8}, "sdpa"),
    ("smollm3", {}, "sdpa"),
    ("gemma", {"head_dim": 8}, "sdpa"),
    ("gemma2", {"head_dim": 8, "sliding_window": 64}, "eager"),
    ("gemma3_text", {"head_dim": 8, "sliding_window": 64}, "sdpa"),
    ("olmo2", {}, "sdpa"),
)


def small_model(model_type: str, attention: str = "sdpa", **settings: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type,
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **settings,
    )
    torch.manual_seed(5)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def made_up_rows() -> list[Row]:
    """Rows of two instructions, some with more in common, one of them twice."""
    draw = random.Random(3)
    instructions = [[1, *(draw.randrange(3, VOCABULARY) for _ in range(9))] for _ in range(2)]
    rows: list[Row] = []
    for index in range(8):
        text = [draw.randrange(3, VOCABULARY) for _ in range(draw.randrange(3, 8))]
        ids = [*instructions[index % 2], *([40, 41] if index > 4 else []), *text]
        rows.append({"input_ids": ids, "first_target": len(ids) - 1 - index % 2})
    return [*rows, rows[0]]


@contextmanager
def norms_in_double() -> Iterator[None]:
    """Norms and softmax compute in float32 whatever the model's type; in a proof to 1e-13 they may not."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


@pytest.mark.parametrize("completion_only", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(
    ("model_type", "settings", "attention"),
    ARCHITECTURES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_loss_and_gradients_are_those_of_the_separate_sequences(
    model_type: str, settings: dict[str, Any], attention: str, checkpointing: bool, completion_only: bool
) -> None:
    """Also where the last layer leaves out what no target needs, and where it is computed twice."""
    import torch

    model = small_model(model_type, attention, **settings).double()
    rows = made_up_rows()
    if not completion_only:
        rows = [{**row, "first_target": 1} for row in rows]
    batch = packed(rows)
    assert batch["input_ids"].numel() < 0.8 * sum(len(row["input_ids"]) for row in rows)
    alone = {**losses_and_gradients(model, lambda: sum(separate_loss(model, row) for row in rows))}

    mask_of = attention_for_packs(model, 20, model.dtype)
    assert (mask_of is None) == (attention == "sdpa")
    assert len(parts_after_the_keys(model)) == 3
    if checkpointing:
        model.train()
        model.activation_checkpointing_enable()
    with only_needed_in_last_layer(model):
        found = losses_and_gradients(model, lambda: summed_loss(model, batch, mask_of))
        in_rows = losses_and_gradients(model, lambda: summed_loss(model, padded(rows)))
    for one in (found, in_rows):
        assert one.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.allclose(one[name], value, rtol=0, atol=1e-12 if name == "loss" else 1e-13), name
    assert max(value.abs().max().item() for name, value in alone.items() if name != "loss") > 0.01


def test_lora_in_place_has_the_loss_and_gradients_of_peft() -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(small_model("llama"), LoraConfig(**LORA)).double()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    rows = made_up_rows()
    expected = losses_and_gradients(model, lambda: summed_loss(model, padded(rows)))
    with lora_in_place(model):
        found = losses_and_gradients(model, lambda: summed_loss(model, padded(rows)))
        assert not all(torch.equal(found[name], value) for name, value in expected.items())
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name
    again = losses_and_gradients(model, lambda: summed_loss(model, padded(rows)))
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_lora_in_place_is_as_near_in_half_precision_as_peft() -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    base = small_model("llama")
    models = [
        get_peft_model(copy.deepcopy(base).to(type_), LoraConfig(**LORA))
        for type_ in (torch.float32, torch.bfloat16)
    ]
    weights = [dict(model.named_parameters()) for model in models]
    torch.manual_seed(3)
    for name, weight in weights[0].items():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
            assert weights[1][name].dtype == torch.float32
            weights[1][name].data.copy_(weight.data)
    batch = padded(made_up_rows())

    def gradients(model: Any) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
            loss = summed_loss(model, batch)
        torch.autograd.backward(loss)
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.requires_grad])

    exact, of_peft = map(gradients, models)
    with lora_in_place(models[1]):
        of_ours = gradients(models[1])
    assert not torch.equal(of_ours, of_peft)
    assert 0 < (of_peft - exact).norm() < 0.05 * exact.norm()
    assert (of_ours - exact).norm() < 1.5 * (of_peft - exact).norm()


def losses_and_gradients(model: Any, loss_of: Callable[[], Any]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    with norms_in_double():
        loss = loss_of()
        loss.backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {"loss": loss.detach(), **{name: weight.grad.clone() for name, weight in trained.items()}}


def separate_loss(model: Any, row: Row) -> torch.Tensor:
    """The loss of one sequence by the model's own causal attention, without any of our code."""
    import torch

    ids, first = torch.tensor(row["input_ids"]), row["first_target"]
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    return torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[first:], reduction="sum")


def test_padded_batches_have_the_same_loss() -> None:
    import torch

    model = small_model("llama")
    rows = made_up_rows()
    with torch.no_grad():
        expected = sum(separate_loss(model, row).item() for row in rows)
        found = [
            summed_loss(model, padded(rows)).item(),
            summed_loss(model, packed(rows), attention_for_packs(model, 20, model.dtype)).item(),
        ]
    assert found == pytest.approx([expected, expected], rel=1e-6)


sequences = st.lists(
    st.lists(st.integers(0, 3), min_size=2, max_size=7).flatmap(
        lambda tokens: st.tuples(st.just(tokens), st.integers(1, len(tokens) - 1))
    ),
    min_size=1,
    max_size=8,
)


@given(sequences)
def test_a_token_sees_the_tokens_of_its_sequence_before_it_and_no_other(
    rows: list[tuple[list[int], int]],
) -> None:
    import torch

    tree = pack(rows)
    mask = boolean_mask(torch.tensor([tree.last_seen]))[0, 0]
    seen = []
    for predictor, target in zip(tree.predictors, tree.targets, strict=True):
        visible = mask[predictor].nonzero().flatten().tolist()
        assert [tree.position_ids[index] for index in visible] == list(range(len(visible)))
        seen.append(([tree.input_ids[index] for index in visible], target))
    expected = [
        (tokens[:place], tokens[place]) for tokens, first in rows for place in range(first, len(tokens))
    ]
    assert sorted(seen) == sorted(expected)


@given(sequences)
def test_what_sequences_share_stands_once(rows: list[tuple[list[int], int]]) -> None:
    prefixes = {tuple(tokens[: end + 1]) for tokens, _ in rows for end in range(len(tokens))}
    assert len(pack(rows).input_ids) == len(prefixes)


@given(sequences)
def test_segments_say_what_the_mask_says(rows: list[tuple[list[int], int]]) -> None:
    import torch

    tree = pack(rows)
    segments = segments_of(tree.position_ids, tree.last_seen)
    assert [one.start for one in segments] == [0, *(one.end for one in segments[:-1])]
    assert segments[-1].end == len(tree.input_ids) == pack_size([tokens for tokens, _ in rows])
    mask = boolean_mask(torch.tensor([tree.last_seen]))[0, 0]
    for one in segments:
        places = [place for other in one.seen for place in range(segments[other].start, segments[other].end)]
        for place in range(one.start, one.end):
            assert mask[place].nonzero().flatten().tolist() == [seen for seen in places if seen <= place]


def test_flash_attention_gets_what_each_segment_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlashAttention runs on GPUs alone: here a loop stands in for it."""
    import torch

    def one_by_one(queries: Any, keys: Any, values: Any, *places: Any, **settings: Any) -> torch.Tensor:
        query_starts, key_starts, longest_query, longest_keys = places
        sizes, lengths = query_starts.diff().tolist(), key_starts.diff().tolist()
        assert (max(sizes), max(lengths), settings["window_size"]) == (longest_query, longest_keys, (-1, 0))
        parts = zip(queries.split(sizes), keys.split(lengths), values.split(lengths), strict=True)
        found = []
        for query, *seen in parts:
            key, value = (one.transpose(0, 1) for one in seen)
            mask = torch.ones(len(query), key.shape[1], dtype=torch.bool).tril(key.shape[1] - len(query))
            query = query.transpose(0, 1)
            found.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query, key, value, mask, scale=settings["scale"]
                )
            )
        return torch.cat(found, 1).transpose(0, 1)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", one_by_one)
    model = small_model("llama").double()
    batch = packed(made_up_rows())
    expected = losses_and_gradients(model, lambda: summed_loss(model, batch, boolean_mask))
    assert attention_for_packs(model, 20, model.dtype) is None
    on_device = batch | {"segments": ragged(batch["segments"], model.device)}
    found = losses_and_gradients(model, lambda: summed_loss(model, on_device))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


def test_without_segments_our_attention_is_sdpa() -> None:
    import torch

    model = small_model("llama").eval()
    ids = torch.tensor([[0, 0, 5, 6, 7], [9, 8, 7, 6, 5]])
    mask = (ids > 0).long()
    settings = {"attention_mask": mask, "max_new_tokens": 4, "do_sample": False}
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits, model.generate(ids, **settings)
        attention_for_packs(model, 10, model.dtype)
        assert model.config._attn_implementation == "by_segment"
        assert "by_segment" not in model.config.to_json_string()
        found = model(ids, attention_mask=mask).logits, model.generate(ids, **settings)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_attention_that_takes_no_such_mask_is_refused() -> None:
    model = small_model("llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(RecipeError, match="takes no mask of our own"):
        attention_for_packs(model, 10, model.dtype)
    hybrid = small_model("qwen2")
    hybrid.config.layer_types = ["full_attention", "linear_attention", "full_attention"]
    with pytest.raises(RecipeError, match="whatever the mask"):
        attention_for_packs(hybrid, 10, hybrid.dtype)
    windowed = small_model("mistral", sliding_window=16)
    attention_for_packs(windowed, 16, windowed.dtype)
    with pytest.raises(RecipeError, match="sees fewer tokens back"):
        attention_for_packs(windowed, 17, windowed.dtype)


@pytest.mark.parametrize("packing", ["shared_prefix", "none"])
def test_an_epoch_draws_every_row_once_and_sorts_inside_a_batch(packing: Packing) -> None:
    rows = [[index % 3, *range(index % 5)] for index in range(50)]
    order = EpochOrder(rows, 16, packing, seed=4)
    drawn = list(order)
    assert sorted(drawn) == list(range(50))
    assert len(order) == 50
    for start in range(0, 50, 16):
        inside = [rows[index] for index in drawn[start : start + 16]]
        key: Any = (lambda row: row) if packing == "shared_prefix" else (lambda row: -len(row))
        assert inside == sorted(inside, key=key)
    assert drawn == list(order)
    order.set_epoch(1)
    assert list(order) != drawn
    order.set_epoch(0)
    assert list(order) == drawn
    assert list(EpochOrder(rows, 16, packing, seed=5)) != drawn


def test_the_batches_of_a_step_do_not_depend_on_the_packing() -> None:
    rows = [[index % 3, *range(index % 5)] for index in range(50)]

    def steps(order: Sequence[int]) -> list[set[int]]:
        return [set(order[start : start + 16]) for start in range(0, 50, 16)]

    drawn = [list(EpochOrder(rows, 16, packing, seed=4)) for packing in ("shared_prefix", "none")]
    assert drawn[0] != drawn[1]
    assert steps(drawn[0]) == steps(drawn[1])


def test_packed_and_padded_training_give_the_same_adapter(
    tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    import torch

    settings = (
        "trainer.max_steps=6",
        "trainer.per_device_train_batch_size=3",
        "trainer.gradient_accumulation_steps=3",
    )
    tuned = []
    for packing in ("shared_prefix", "none"):
        model, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, [*settings, f"packing={packing}"]).recipe
        # Adam makes much of a small difference between two gradients, so all of it is in double.
        with norms_in_double():
            tuned.append(tune(model.double(), tokenizer, made_up_rows(), recipe))
    in_packs, in_rows = tuned
    assert in_packs.losses == pytest.approx(in_rows.losses, rel=1e-6)
    assert in_packs.tokens == in_rows.tokens
    assert in_packs.computed_tokens < in_packs.tokens < in_rows.computed_tokens
    weights = dict(in_rows.model.named_parameters())
    for name, weight in in_packs.model.named_parameters():
        assert torch.allclose(weight, weights[name], atol=1e-7), name
