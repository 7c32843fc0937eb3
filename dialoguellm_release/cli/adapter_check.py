"""What can be told of a training beforehand, as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from dialoguellm_release.cli.output import table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.counts import Spread
    from dialoguellm_release.training.check import Check, Tokens
    from dialoguellm_release.training.footprint import Footprint


def as_text(check: Check) -> str:
    """The check in paragraphs: sizes and steps, lengths, memory, and what is not known."""
    return "\n\n".join(
        [
            table([("training", ""), *_sizes(check)]),
            *([_lengths(check.tokens)] if check.tokens else []),
            *([_memory(check.memory)] if check.memory else []),
            "not known, or taken on trust\n" + "\n".join(f"  {line}" for line in check.unknown),
        ]
    )


def _sizes(check: Check) -> list[tuple[str, str]]:
    rows = [("recipe", f"{check.recipe} on {check.backbone}")]
    numbers = {
        "parameters": check.parameters,
        "trainable parameters": check.trainable_parameters,
        "records": check.records,
        "records a step": check.batch_size,
        "steps an epoch": check.steps_per_epoch,
        "steps": check.steps,
    }
    rows += [(name, f"{value:,}" if value is not None else "not known") for name, value in numbers.items()]
    hours = "not known" if check.seconds is None else f"{check.seconds / 3600:.2f} hours"
    return [*rows, ("time", hours)]


def _lengths(tokens: Tokens) -> str:
    from dialoguellm_release.training.survival import survival_table

    share = 1 - tokens.computed_per_epoch / tokens.per_epoch
    saved = f"{share:.1%} fewer" if share > 0 else f"{-share:.1%} more, for padding"
    return "\n".join(
        [
            f"tokens of a record, label included: {_spread(tokens.lengths)}",
            f"tokens an epoch: {tokens.per_epoch:,}",
            f"  of which through the model: {tokens.computed_per_epoch:,} ({saved})",
            f"records shortened to fit: {tokens.shortened:,}",
            "",
            survival_table(tokens.survival),
        ]
    )


def _spread(spread: Spread) -> str:
    return f"mean {spread.mean:.1f}, median {spread.median}, 95 % {spread.p95}, longest {spread.maximum}"


def _memory(memory: Footprint) -> str:
    from dialoguellm_release.training.footprint import gigabytes

    parts = {**asdict(memory), "total": memory.total}
    return table([("memory (bf16)", ""), *((name, gigabytes(size)) for name, size in parts.items())])
