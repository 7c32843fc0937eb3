"""What a step of training leaves out, for the same loss and the same gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

_AFTER_THE_KEYS = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""The parts of a decoder layer whose outputs at a token serve that token alone."""


def parts_after_the_keys(model: PreTrainedModel | PeftModel) -> list[torch.nn.Module]:
    """Those of the last decoder layer; none where a model names its parts otherwise, or routes to experts."""
    layers = getattr(model.get_decoder(), "layers", None)
    named = dict(layers[-1].named_modules()) if layers is not None and len(layers) else {}
    is_dense = "mlp.down_proj" in named and all(name in named for name in _AFTER_THE_KEYS)
    return [named[name] for name in _AFTER_THE_KEYS] if is_dense else []


@contextmanager
def only_needed_in_last_layer(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Inside the block the last layer computes little more than keys and values where no target is predicted.

    Why: nothing reads its output elsewhere. In a model of two layers that is nearly half of the work.
    Attention is given the places as `needed`, the first time as when activation checkpointing repeats it.
    """
    parts = parts_after_the_keys(model)
    needed: torch.Tensor | None = None
    shape: tuple[int, ...] = ()

    def enter(_: Any, _given: Any, settings: dict[str, Any]) -> None:
        nonlocal needed
        needed = settings.get("needed")

    def gather(_: Any, given: tuple[torch.Tensor, ...]) -> Any:
        nonlocal shape
        if needed is None:
            return None
        shape = given[0].shape[:-1]
        return (given[0].flatten(0, 1).index_select(0, needed.to(given[0].device))[None], *given[1:])

    def scatter(_: Any, _given: Any, output: torch.Tensor) -> Any:
        if needed is None:
            return None
        spread = output.new_zeros((shape[0] * shape[1], output.shape[-1]))
        return spread.index_copy(0, needed.to(output.device), output[0]).view(*shape, -1)

    with ExitStack() as around:
        if parts:
            attention = model.get_decoder().layers[-1].self_attn
            hooks = [attention.register_forward_pre_hook(enter, with_kwargs=True)]
            for part in parts:
                hooks += [part.register_forward_pre_hook(gather), part.register_forward_hook(scatter)]
            for hook in hooks:
                around.callback(hook.remove)
        yield


@contextmanager
def lora_in_one_product(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Inside the block LoRA's second product adds itself, scaled, to the output of the layer.

    Why: PEFT scales the product and adds it in two passes over an output that is many times as wide as the
    rank, and scales the gradient in a third. PEFT calls such a thing a variant. It reads the weight without
    calling its layer, so it must not be used where FSDP or ZeRO-3 has spread the weights.
    """
    import torch
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraVariant

    class OneProduct(LoraVariant):  # type: ignore[misc]
        @staticmethod
        def forward(module: Any, active_adapter: str, x: Any, result: Any, **_: Any) -> Any:
            second, scaling = module.lora_B[active_adapter], module.scaling[active_adapter]
            low = module.lora_A[active_adapter](module.lora_dropout[active_adapter](x))
            if low.dtype != result.dtype or second.bias is not None:
                return result + second(low) * scaling
            flat = (result.flatten(0, -2), low.flatten(0, -2), second.weight.t())
            return torch.addmm(*flat, alpha=scaling).view_as(result)

    plain = [
        (part, name)
        for part in model.modules()
        if isinstance(part, Linear)
        for name in part.active_adapters
        if name in part.lora_A and name not in part.lora_variant
    ]
    for part, name in plain:
        part.lora_variant[name] = OneProduct()
    try:
        yield
    finally:
        for part, name in plain:
            del part.lora_variant[name]
