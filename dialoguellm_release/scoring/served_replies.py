"""What a server replied becomes an answer: by its likeliest first tokens, or by what it wrote."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.scores import ScorerName, ServedFigures
from dialoguellm_release.scoring.answers import Answer, parse
from dialoguellm_release.scoring.scorers import softmax
from dialoguellm_release.serve.protocol import plain_token, read_completion
from dialoguellm_release.serve.store import StoredAnswer

MIN_PREFIX = 3
"""A shorter beginning counts as a label only where an answer shows that the label is written so."""


def read_body(body: str) -> StoredAnswer | None:
    """What is kept of a completion."""
    found = read_completion(body)
    if found is None:
        return None
    data = {"first": found.first, "cut_off": found.cut_off, "thought": found.thought}
    state: Literal["answered", "refused"] = "answered"
    reason = None
    if found.refusal is not None or found.cut_off == "content_filter":
        state = "refused"
        reason = "content filter" if found.refusal is None else "the model refuses"
    return StoredAnswer(state, found.text, data, reason, found.model, found.input_tokens, found.output_tokens)


def beginnings_of(replies: Iterable[StoredAnswer], labels: Sequence[Label]) -> set[str]:
    """Short first tokens that are known to begin a label, as the label was written after them."""
    found = set()
    for reply in replies:
        first = (reply.data or {}).get("first")
        label = parse(reply.text or "", labels)
        if first and label is not None:
            piece = plain_token(max(first, key=lambda pair: pair[1])[0])
            if piece and label.startswith(piece):
                found.add(piece)
    return found


def label_masses(
    first: Sequence[tuple[str, float]],
    labels: Sequence[Label],
    beginnings: set[str] | frozenset[str] = frozenset(),
) -> dict[Label, float]:
    """The probability of each label by the likeliest first tokens.

    A token counts for the label that it is, or the only one that it begins: "a" is an article, not anger, so
    less than three letters count only where they are known to begin a label, and a beginning does not count
    where another token that is as likely begins with it too.

    >>> {k: round(v, 2) for k, v in label_masses([(" sad", -0.5), ("A", -1.0)], ["anger", "sadness"]).items()}
    {'anger': 0.0, 'sadness': 0.61}
    """
    masses = dict.fromkeys(labels, 0.0)
    pieces = [(plain_token(token), value) for token, value in first]
    for piece, value in pieces:
        begun = [label for label in labels if piece and label.startswith(piece)]
        begun = [label for label in begun if label == piece] or begun
        if len(begun) != 1:
            continue
        others = any(
            other.startswith(piece) and not begun[0].startswith(other) and likely >= value
            for other, likely in pieces
        )
        if piece == begun[0] or piece in beginnings or (len(piece) >= MIN_PREFIX and not others):
            masses[begun[0]] += math.exp(value)
    return masses


@dataclass(frozen=True)
class ReadReply:
    """A reply as an answer, with the probability of all labels together and why it names none."""

    answer: Answer
    mass: float | None = None
    invalid: str | None = None


def read_reply(
    scorer: ScorerName,
    reply: StoredAnswer,
    labels: Sequence[Label],
    beginnings: set[str],
    max_new_tokens: int,
) -> ReadReply:
    """The answer that a scorer reads in a reply."""
    text, data = reply.text, reply.data or {}

    def invalid(reason: str, mass: float | None = None) -> ReadReply:
        return ReadReply(Answer(None, text=text), mass, reason)

    if reply.state != "answered":
        return invalid(f"refused: {(reply.reason or '').partition(':')[0]}")
    if scorer == "first_token":
        if data.get("first") is None:
            return invalid("no log-probabilities")
        masses = label_masses(data["first"], labels, beginnings)
        mass = min(1.0, sum(masses.values()))
        if not mass:
            return invalid("no label among the likeliest first tokens", mass)
        scores = [math.log(value) if value else -math.inf for value in masses.values()]
        return ReadReply(Answer(labels[scores.index(max(scores))], scores=softmax(scores), text=text), mass)
    label = parse(text or "", labels)
    if label is not None:
        return ReadReply(Answer(label, text=text))
    is_empty = not (text or "").strip()
    if data.get("cut_off") == "length" and (data.get("thought") or is_empty):
        return invalid(f"cut off while reasoning (max_new_tokens: {max_new_tokens})")
    return invalid("empty" if is_empty else "not a label")


def served_figures(scorer: ScorerName, read: Sequence[ReadReply]) -> ServedFigures:
    """The mass on labels, the share of records without one, and the invalid answers by their reason."""
    masses = [one.mass for one in read if one.mass is not None]
    is_by_tokens = scorer == "first_token"
    return ServedFigures(
        label_mass=math.fsum(masses) / len(masses) if masses and is_by_tokens else None,
        without_label=sum(not one.mass for one in read) / len(read) if read and is_by_tokens else None,
        invalid=dict(sorted(Counter(one.invalid for one in read if one.invalid).items())),
    )


def is_readable(probe: StoredAnswer, labels: Sequence[Label], beginnings: set[str]) -> bool:
    """Whether the likeliest first token begins a label."""
    first = (probe.data or {}).get("first")
    if not first:
        return False
    top = max(first, key=lambda pair: pair[1])
    return any(
        label_masses([tuple(pair) for pair in first if pair[1] >= top[1]], labels, beginnings).values()
    )
