"""How many tokens a backbone reads at once, and whether the longest sequence fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import DataError, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SCALED = ("linear", "dynamic", "yarn", "llama3")


def check_context_window(model: PreTrainedModel, at: str, needed: int, setting: str = "max_length") -> None:
    """Checks that a model reads as many tokens as the longest sequence has; unknown windows pass.

    Args:
        at: The model in messages.
        needed: Tokens of the longest sequence that it is to read.
        setting: The key of the recipe that bounds these.

    Raises:
        DataError: Its positions end before.
    """
    window = context_window(model.config.get_text_config())
    if window is not None and needed > window:
        raise DataError(
            Problem(
                at,
                "reads fewer tokens than the longest sequence has",
                expected=f"at most {window:,} tokens (max_position_embeddings in config.json)",
                got=f"{needed:,} tokens",
                fix=f"lower {setting} by {needed - window:,} or more, or choose another backbone",
                code="backbones.context_window",
            )
        )


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
