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
def lora_in_place(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Inside the block LoRA adds itself to the output of the layer in place, in the type of that output.

    Why: PEFT passes over an output that is many times as wide as the rank three times forward and once
    backward, and in half precision it copies each layer's input to float32 and back. PEFT calls such a thing
    a variant. It reads the weights without calling their layers, so it must not be used where FSDP or ZeRO-3
    has spread them.
    """
    import torch
    from peft.helpers import disable_input_dtype_casting
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraVariant

    class Addition(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, result: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scaling: float
        ) -> torch.Tensor:
            flat, first, second = x.flatten(0, -2), a.to(result.dtype), b.to(result.dtype)
            low = flat @ first.t()
            result.flatten(0, -2).addmm_(low, second.t(), alpha=scaling)
            ctx.mark_dirty(result)
            ctx.save_for_backward(flat, low, first, second)
            ctx.scaling, ctx.shape = scaling, x.shape
            return result

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            flat, low, first, second = ctx.saved_tensors
            wide = grad.flatten(0, -2)
            low_grad = (wide @ second).mul_(ctx.scaling)
            x_grad = (low_grad @ first).view(ctx.shape) if ctx.needs_input_grad[1] else None
            # The product of a few rows with many columns is faster than that of many rows with few columns.
            return grad, x_grad, low_grad.t() @ flat, (low.t() @ wide).t().mul(ctx.scaling), None

    class InPlace(LoraVariant):  # type: ignore[misc]
        @staticmethod
        def forward(module: Any, active_adapter: str, x: Any, result: Any, **_: Any) -> Any:
            first, second = module.lora_A[active_adapter], module.lora_B[active_adapter]
            x = module.lora_dropout[active_adapter](x).to(result.dtype)
            return Addition.apply(result, x, first.weight, second.weight, module.scaling[active_adapter])  # type: ignore[no-untyped-call]

    plain = [
        (part, name)
        for part in model.modules()
        if isinstance(part, Linear)
        for name in part.active_adapters
        if name in part.lora_A and name not in part.lora_variant and part.lora_B[name].bias is None
    ]
    for part, name in plain:
        part.lora_variant[name] = InPlace()
    try:
        with disable_input_dtype_casting(model, active=bool(plain)):
            yield
    finally:
        for part, name in plain:
            del part.lora_variant[name]
