"""Shared-prefix packs: several sequences as one, in which what they begin with stands once.

Every record of a corpus begins with the same instruction, about half of its prompt. A pack is the tree of
the sequences' tokens, written depth first: a token sees its ancestors and itself, nothing else, and its
position is its depth. So each sequence sees exactly what it sees alone, and loss and gradients are those of
the separate sequences (but for dropout, which a shared token draws once for all).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile


@dataclass(frozen=True)
class Pack:
    """Sequences as one.

    Attributes:
        input_ids: The tokens of the tree, depth first.
        position_ids: The depth of each.
        last_seen: For each token, the index after the last token that sees it.
        predictors: Where the token stands that predicts each target, in the order of `targets`.
        targets: The tokens to be predicted, of all sequences.
    """

    input_ids: list[int]
    position_ids: list[int]
    last_seen: list[int]
    predictors: list[int]
    targets: list[int]


def pack(sequences: Sequence[tuple[Sequence[int], int]]) -> Pack:
    """The tree of some sequences.

    Sequences that have more in common may stand apart in `sequences`: they are sorted here.

    Args:
        sequences: Each with the index of its first target, at least 1.
    """
    packed = Pack([], [], [], [], [])
    path: list[int] = []
    before: Sequence[int] = ()
    for tokens, first_target in sorted((list(tokens), first) for tokens, first in sequences):
        shared = common_prefix_length(before, tokens)
        _close(packed, path[shared:])
        start = len(packed.input_ids)
        path = path[:shared] + list(range(start, start + len(tokens) - shared))
        packed.input_ids.extend(tokens[shared:])
        packed.position_ids.extend(range(shared, len(tokens)))
        packed.last_seen.extend([0] * (len(tokens) - shared))
        packed.predictors.extend(path[first_target - 1 : -1])
        packed.targets.extend(tokens[first_target:])
        before = tokens
    _close(packed, path)
    return packed


@dataclass(frozen=True)
class Division:
    """How sorted sequences become packs of about one length, which stand below each other in a batch.

    Attributes:
        ends: For each pack, the place after its last sequence.
        longest: Tokens of the longest pack, to which the others are padded.
    """

    ends: tuple[int, ...]
    longest: int

    @property
    def tokens(self) -> int:
        """All that pass through the model."""
        return len(self.ends) * self.longest

    def cost(self, parity: float) -> float:
        """The time it takes, in no unit: linear layers by the token, attention by the pair of tokens."""
        return self.tokens * (1 + self.longest / parity)


def division(sequences: Sequence[Sequence[int]], parity: float) -> Division:
    """The cheapest division of sorted sequences, in their order, into packs that are filled to one limit.

    Why: one long pack holds what its sequences share only once, but attention looks at each pair of its
    tokens; with many sequences or a narrow model, several packs are faster. It costs no more than one pack,
    and no more than a padded batch.

    Args:
        parity: The length of a pack at which attention takes as long as the linear layers.
    """
    lengths = [len(tokens) for tokens in sequences]
    shared = [0, *(common_prefix_length(one, other) for one, other in pairwise(sequences))]
    added = [length - common for length, common in zip(lengths, shared, strict=True)]
    longest = max(lengths)
    limits = {max(longest, size) for size in accumulate(added)}
    divisions = (_filled(lengths, added, limit) for limit in sorted(limits, reverse=True))
    return min(divisions, key=lambda found: found.cost(parity))


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _filled(lengths: Sequence[int], added: Sequence[int], limit: int) -> Division:
    """Packs that take sequences until the next one would make them longer than a limit.

    Args:
        added: Tokens of each sequence that the one before does not begin with.
    """
    ends, sizes = list[int](), list[int]()
    size = 0
    for place, (length, more) in enumerate(zip(lengths, added, strict=True)):
        if place and size + more > limit:
            ends.append(place)
            sizes.append(size)
            size = 0
        size += more if size else length
    return Division((*ends, len(lengths)), max([*sizes, size]))


def _close(packed: Pack, path: list[int]) -> None:
    for index in path:
        packed.last_seen[index] = len(packed.input_ids)
