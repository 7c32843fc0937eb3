from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import GOLDEN_RECORD, Encoder
from dialoguellm_release.errors import DataError
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.labels import LABELS, Split
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from tests.tokenizers import with_prefix_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROOMY = 1000


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]) -> Any:
    return load_backbone(tiny_recipe.recipe, tiny_backbone)[1]


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    return load_prompt("dialogue-v1")


def that_ends_every_text() -> PreTrainedTokenizerFast:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend = with_prefix_space().backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def that_merges_across_the_border() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {
        character: index for index, character in enumerate(sorted(set("".join(map(chr, range(128))))))
    }
    vocabulary |= {": ": 128, "</s>": 129}
    backend = Tokenizer(models.BPE(vocabulary, [(":", " ")]))
    backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


def long_record(**changes: object) -> Record:
    return GOLDEN_RECORD.model_copy(
        update={
            "context": tuple(f"Robin: This is line {number}." for number in range(1, 5)),
            "video_description": "A man sits at a table and reads a book and drinks coffee.",
            **changes,
        }
    )


@pytest.mark.parametrize("kind", ["byte-level", "prefix space"])
def test_prompt_and_completion_are_the_ids_of_the_joined_text(
    kind: str, tokenizer: Any, prompt: Prompt, records_of: Callable[[Split, int], list[Record]]
) -> None:
    used = tokenizer if kind == "byte-level" else with_prefix_space()
    encoder = Encoder(prompt, used, ROOMY)
    records = [*records_of("train", 20), long_record()]
    for encoded in encoder.encode_all(records):
        for label in LABELS:
            joined = used(encoded.text + prompt.completion(label)).input_ids
            assert [*joined, used.eos_token_id] == encoded.ids + encoder.completion_ids(label)


def test_the_beginning_of_sequence_is_the_tokenizers_own(tokenizer: Any, prompt: Prompt) -> None:
    ids = Encoder(prompt, tokenizer, ROOMY).encode(GOLDEN_RECORD).ids
    assert ids == tokenizer(prompt.prompt(GOLDEN_RECORD)).input_ids
    assert ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("make", [that_ends_every_text, that_merges_across_the_border])
def test_a_tokenizer_that_splits_the_joined_text_otherwise_is_refused(
    make: Callable[[], PreTrainedTokenizerFast], prompt: Prompt
) -> None:
    with pytest.raises(DataError, match="otherwise together than alone"):
        Encoder(prompt, make(), ROOMY)


def test_the_oldest_context_goes_first_then_the_end_of_the_description(
    tokenizer: Any, prompt: Prompt
) -> None:
    record = long_record()
    whole = Encoder(prompt, tokenizer, ROOMY).encode(record)
    completion = 2
    assert not whole.is_shortened

    seen: list[str] = []
    for max_length in range(len(whole.ids) + completion, 0, -1):
        encoder = Encoder(prompt, tokenizer, max_length)
        encoded = encoder.encode(record)
        if len(encoded.ids) + completion > max_length:
            break
        assert encoded.is_shortened == (encoded.text != whole.text)
        if not seen or seen[-1] != encoded.text:
            seen.append(encoded.text)

    lines, words = list(record.context), str(record.video_description).split()
    context_steps = [lines[start:] for start in range(len(lines) + 1)]
    for text, kept in zip(seen, context_steps, strict=False):
        assert [line for line in record.context if line in text] == kept
        assert str(record.video_description) in text
    description_steps = [" ".join(words[:kept]) for kept in range(len(words) - 1, -1, -1)]
    shortened = seen[len(context_steps) :]
    assert len(shortened) > 3
    for text in shortened[:-1]:
        kept_words = next(step for step in description_steps if step in text)
        assert f"{kept_words}\n" in text
    assert "Video description" not in seen[-1]
    assert all(record.instruction in text and f"Alex: {record.input}" in text for text in seen)


def test_as_much_of_the_description_stays_as_fits(tokenizer: Any, prompt: Prompt) -> None:
    record = long_record(context=())
    words = str(record.video_description).split()
    for count in range(1, len(words)):
        kept = record.model_copy(update={"video_description": " ".join(words[:count])})
        fitting = len(tokenizer(prompt.prompt(kept)).input_ids) + 2
        assert Encoder(prompt, tokenizer, fitting).encode(record).text == prompt.prompt(kept)


def test_the_budget_does_not_depend_on_the_label(tokenizer: Any, prompt: Prompt) -> None:
    record = long_record()
    encoder = Encoder(prompt, tokenizer, 120)
    texts = {
        encoder.encode(record.model_copy(update={"output": label, "label": label})).text for label in LABELS
    }
    assert len(texts) == 1


def test_records_that_cannot_fit_are_named_together(tokenizer: Any, prompt: Prompt) -> None:
    records = [
        long_record(
            id=f"meld/train/golden/{index}", utterance_index=index, input="why " * (300 if index else 1)
        )
        for index in range(13)
    ]
    encoder = Encoder(prompt, tokenizer, 200)
    with pytest.raises(DataError) as raised:
        encoder.encode_all(records)
    (problem,) = raised.value.problems
    assert problem.what.startswith("12 of 13 prompts do not fit")
    assert problem.got is not None
    assert "meld/train/golden/1 (3" in problem.got
    assert "meld/train/golden/0 " not in problem.got
    assert problem.fix is not None
    needed = int(problem.fix.split()[3])
    assert len(Encoder(prompt, tokenizer, needed).encode_all(records)) == 13
    with pytest.raises(DataError):
        Encoder(prompt, tokenizer, needed - 1).encode_all(records)


def test_one_at_a_time_or_all_at_once_is_the_same(
    tokenizer: Any, prompt: Prompt, records_of: Callable[[Split, int], list[Record]]
) -> None:
    encoder = Encoder(prompt, tokenizer, 100)
    records = records_of("train", 30)
    assert encoder.encode_all(records) == [encoder.encode(record) for record in records]
    assert encoder.encode_all([]) == []


@pytest.mark.parametrize("spelled", ["</s>", "<s>", "<pad>", "I said </s> and <s>.", "<s><s></s>"])
def test_what_is_spelled_like_a_special_token_is_text(spelled: str, tokenizer: Any, prompt: Prompt) -> None:
    encoder = Encoder(prompt, tokenizer, ROOMY, LABELS)
    plain = GOLDEN_RECORD.model_copy(update={"input": "Yes."})
    record = plain.model_copy(update={"input": spelled, "context": (f"Ann: {spelled}",)})
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    ids = encoder.encode(record).ids
    assert [one for one in ids if one in special] == [tokenizer.bos_token_id]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == prompt.prompt(record)
    assert encoder.encode_all([record])[0].ids == ids
    (lengths,) = encoder.lengths(encoder.encode_all([record]))
    assert lengths.whole >= len(ids)


@pytest.mark.parametrize("mark", ["<think>", "<tool_call>", "[TOOL]"])
def test_what_is_spelled_like_an_added_mark_is_text(mark: str, tokenizer: Any, prompt: Prompt) -> None:
    marked = copy.deepcopy(tokenizer)
    marked.add_tokens([mark, "unbelievable"])
    record = GOLDEN_RECORD.model_copy(update={"input": f"I {mark} so.", "context": (f"{mark}: Hm.",)})
    encoder = Encoder(prompt, marked, ROOMY, LABELS)
    ids = encoder.encode(record).ids
    assert marked.convert_tokens_to_ids(mark) not in ids
    assert ids == Encoder(prompt, tokenizer, ROOMY, LABELS).encode(record).ids
    word = GOLDEN_RECORD.model_copy(update={"input": "unbelievable"})
    assert encoder.encode(word).ids != ids
