"""Text becomes ids within a budget: the one place, for training and scoring."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import LABELS, Label, class_labels
from dialoguellm_release.schemas.record import Record

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dialoguellm_release.prompts import Prompt

MAX_NAMED = 10
ENCODED_AT_ONCE = 2_000
"""Records: a tokenizer takes a list of texts much faster than one after the other."""

GOLDEN_RECORD = Record(
    id="example/train/golden/1",
    instruction=f"Name the emotion of the input. Answer with one of these labels: {', '.join(LABELS[:7])}.",
    video_description="A woman puts a letter on the kitchen table and looks out of the window.",
    context=("Robin: The letter came this morning.",),
    input="I can’t believe it, they said yes!",
    output="happiness",
    label="happiness",
    source_label="joy",
    other_labels=(),
    corpus="example",
    split="train",
    dialogue_id="golden",
    utterance_index=1,
    speaker="Alex",
    start_s=None,
    end_s=None,
    license="Apache-2.0",
    leaks=None,
)
"""A record with invented text, to see how a tokenizer splits a prompt."""


def golden_record(like: Record, labels: Sequence[Label]) -> Record:
    """An invented record with the instruction and the fields of a training record.

    Why: its prompt and ids go into every adapter folder, and no text of a corpus may.
    """
    label = GOLDEN_RECORD.output if GOLDEN_RECORD.output in labels else labels[0]
    speaker = GOLDEN_RECORD.speaker if like.speaker else None
    context = GOLDEN_RECORD.context if speaker else ("The letter came this morning.",)
    return GOLDEN_RECORD.model_copy(
        update={
            "id": f"{like.corpus}/train/golden/1",
            "corpus": like.corpus,
            "instruction": like.instruction,
            "context": context if like.context else (),
            "video_description": GOLDEN_RECORD.video_description if like.video_description else None,
            "speaker": speaker,
            "output": label,
            "label": label,
            "source_label": label,
        }
    )


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as ids."""

    record: Record
    text: str  # the prompt that the ids stand for
    ids: list[int]
    whole_length: int  # tokens of the prompt before anything was left out of it

    @property
    def is_shortened(self) -> bool:
        """Whether context or description was left out to fit the budget."""
        return len(self.ids) < self.whole_length


@dataclass(frozen=True, slots=True)
class RecordLengths:
    """Tokens of a record: what it needs of a budget, and where its label stands."""

    whole: int  # its prompt as it is, and room for the longest label of the vocabulary
    shortest: int  # its prompt without context and description, and the same room
    with_label: int  # its prompt as it is and its own label, without the end-of-sequence token


def in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in lists of `ENCODED_AT_ONCE`, the last one shorter."""
    remaining = iter(records)
    while some := list(islice(remaining, ENCODED_AT_ONCE)):
        yield some


class Encoder:
    """Prompts and completions as the ids of one tokenizer, so that both together fit `max_length`.

    Why: the same record must give the same ids in training and in scoring; so the room that is kept for
    the completion is that of the longest label of the dataset or the canonical vocabulary. A prompt may have
    `room` tokens.
    """

    def __init__(
        self,
        prompt: Prompt,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        labels: Iterable[Label] = LABELS,
    ) -> None:
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._plain = _without_added_marks(tokenizer)
        self.max_length = max_length
        self._completions = self._completion_ids(class_labels([labels]))
        self.longest_completion = max(map(len, self._completions.values()))
        self.room = max_length - self.longest_completion

    def completion_ids(self, label: Label) -> list[int]:
        """The ids of one space, the label and the end-of-sequence token, as they follow a prompt."""
        return self._completions[label]

    def encode(self, record: Record) -> EncodedPrompt:
        """The prompt of a record, shortened until it fits or nothing more may be left out.

        What goes first is the oldest line of the context, then the next; then the video description
        from its end. Instruction, input and label always stay.
        """
        (encoded,) = self.fit_all([record])
        return encoded

    def encode_all(self, records: Iterable[Record]) -> list[EncodedPrompt]:
        """The prompts of the records, in their order."""
        return list(self.encode_each(records))

    def encode_each(self, records: Iterable[Record]) -> Iterator[EncodedPrompt]:
        """The same one after the other; that some do not fit is reported after the last one."""
        count, too_long = 0, list[tuple[str, int]]()
        for some in in_batches(records):
            for prompt in self.fit_all(some):
                count += 1
                if len(prompt.ids) > self.room:
                    too_long.append((prompt.record.id, len(prompt.ids)))
                yield prompt
        if too_long:
            raise DataError(self._too_long(too_long, count))

    def _too_long(self, prompts: Sequence[tuple[str, int]], of: int) -> Problem:
        needed = max(length for _, length in prompts) + self.longest_completion
        got = ", ".join(f"{name} ({length})" for name, length in prompts[:MAX_NAMED])
        got += ", ..." if len(prompts) > MAX_NAMED else ""
        what = f"{len(prompts)} of {of} prompts do not fit, even when shortened"
        expected = f"at most {self.room} tokens, which leaves room for the longest label"
        fix = f"set max_length to {needed} or more"
        return Problem("max_length", what, expected, got, fix, code="encoding.too_long")

    def fit_all(self, records: Sequence[Record]) -> list[EncodedPrompt]:
        """The prompts of the records, in their order; some may still be too long."""
        texts = [self._prompt.prompt(record) for record in records]
        found = []
        for record, text, ids in zip(records, texts, self._ids_of(texts), strict=True):
            shown = (text, ids) if len(ids) <= self.room else self._shortened(record)
            found.append(EncodedPrompt(record, *shown, whole_length=len(ids)))
        return found

    def lengths(self, prompts: Sequence[EncodedPrompt]) -> list[RecordLengths]:
        """How many tokens each record takes, whatever the budget."""
        batch = self._ids_of([self._text(prompt.record, (), None) for prompt in prompts])
        return [
            RecordLengths(
                whole=prompt.whole_length + self.longest_completion,
                shortest=len(ids) + self.longest_completion,
                with_label=prompt.whole_length + len(self._completions[prompt.record.output]) - 1,
            )
            for prompt, ids in zip(prompts, batch, strict=True)
        ]

    def _shortened(self, record: Record) -> tuple[str, list[int]]:
        """The longest prompt that fits, or the shortest there is."""
        for left_out in range(1, len(record.context) + 1):
            text = self._text(record, record.context[left_out:], record.video_description)
            if len(ids := self._ids(text)) <= self.room:
                return text, ids
        words = (record.video_description or "").split()
        best = self._text(record, (), None)
        fewest, most = 1, len(words)
        while fewest <= most:
            kept = (fewest + most) // 2
            text = self._text(record, (), " ".join(words[:kept]))
            if len(self._ids(text)) <= self.room:
                best, fewest = text, kept + 1
            else:
                most = kept - 1
        return best, self._ids(best)

    def _text(self, record: Record, context: tuple[str, ...], video_description: str | None) -> str:
        """The prompt of a record with less knowledge."""
        shorter = record.model_copy(update={"context": context, "video_description": video_description})
        return self._prompt.prompt(shorter)

    def _ids(self, text: str) -> list[int]:
        return self._ids_of([text])[0]

    def _ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts, in which what is spelled like a special token (`</s>`) is text like any other."""
        if not texts:
            return []
        if self._plain is not None:
            return [encoding.ids for encoding in self._plain.encode_batch(list(texts))]
        ids: list[list[int]] = self._tokenizer(
            list(texts), split_special_tokens=True, verbose=False
        ).input_ids
        return ids

    def _completion_ids(self, labels: Iterable[Label]) -> dict[Label, list[int]]:
        text = self._prompt.prompt(GOLDEN_RECORD)
        prompt_ids = self._ids(text)
        completions = {}
        for label in labels:
            joined = self._ids(text + self._prompt.completion(label))
            if joined[: len(prompt_ids)] != prompt_ids or len(joined) == len(prompt_ids):
                where = self._tokenizer.name_or_path or "the tokenizer"
                what = f"splits prompt and completion otherwise together than alone (label {label})"
                expected, got = f"the ids of the prompt first: {prompt_ids}", str(joined)
                fix = "choose another backbone or prompt"
                raise DataError(Problem(where, what, expected, got, fix, code="encoding.splits_differently"))
            completions[label] = [*joined[len(prompt_ids) :], self._tokenizer.eos_token_id]
        return completions


def _without_added_marks(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """The tokenizer without added marks that are not special (`<think>`, `<tool_call>`); None without such.

    Why: `split_special_tokens` splits special tokens alone, so a text could still spell one of these.
    """
    marks = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if not token.special
        and any(map(str.isalnum, token.content))
        and not (token.content[0].isalnum() or token.content[-1].isalnum())
    }
    if not marks or not tokenizer.is_fast:
        return None
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [one for one in state["added_tokens"] if one["content"] not in marks]
    plain = Tokenizer.from_str(json.dumps(state))
    plain.encode_special_tokens = True
    plain.no_truncation()
    plain.no_padding()
    return plain


_SCALED = ("linear", "dynamic", "yarn", "llama3")


def check_context_window(model: PreTrainedModel, at: str, needed: int, setting: str = "max_length") -> None:
    """Checks that a model reads as many tokens as the longest sequence has; unknown windows pass."""
    window = context_window(model.config.get_text_config())
    if window is not None and needed > window:
        raise DataError(longer_than_window(at, window, needed, setting))


def longer_than_window(at: str, window: int, needed: int, setting: str) -> Problem:
    """The problem of a sequence that is longer than what a backbone reads."""
    what = "reads fewer tokens than the longest sequence has"
    expected = f"at most {window:,} tokens (max_position_embeddings in config.json)"
    got = f"{needed:,} tokens"
    fix = f"lower {setting} by {needed - window:,} or more, or choose another backbone"
    return Problem(at, what, expected, got, fix, code="backbones.context_window")


def context_window(config: Any) -> int | None:
    """The tokens that a model was made to read, with RoPE scaling; None where its config does not say.

    Why the scaling: for `linear`, `dynamic` and `yarn` many configs keep the length before it.
    """
    stated = getattr(config, "max_position_embeddings", None)
    if not isinstance(stated, int) or stated < 1:
        return None
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    groups = [rope, *(one for one in rope.values() if isinstance(one, dict))]  # one for each type of layer
    scaled = (
        int((one.get("original_max_position_embeddings") or stated) * (one.get("factor") or 1))
        for one in groups
        if one.get("rope_type", one.get("type")) in _SCALED
    )
    return max(stated, *scaled, 0)
