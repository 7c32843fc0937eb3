"""The weights of an adapter, read from their safetensors file without torch: are there any, and numbers?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS = "adapter_model.safetensors"
AGAIN = "train the adapter again"
_BITS = {
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F32": ("<u4", 0x7F80_0000, 0x7FFF_FFFF),
}
"""Of each type of number: how its bits are read, those all set in NaN and infinity, all but the sign."""


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def weight_problems(path: Path, rank: int | None = None) -> Iterator[Problem]:
    """Where a safetensors file is missing, cut short, empty, all zeros, or holds what is no number.

    Args:
        rank: The `r` of LoRA that the matrices must have; None leaves that out.
    """
    try:
        tensors, begin = _header(path)
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}", fix=AGAIN)
        return
    except (ValueError, OverflowError, MemoryError, KeyError, TypeError, AttributeError):
        yield Problem(str(path), "is not a safetensors file", fix=AGAIN)
        return
    if not any(tensor.end for tensor in tensors):
        yield Problem(str(path), "holds no weights: the adapter is empty", fix=AGAIN)
    elif begin + max(tensor.end for tensor in tensors) != path.stat().st_size:
        yield Problem(str(path), "is cut short", fix=AGAIN)
    else:
        yield from _number_problems(path, tensors, begin)
        yield from _rank_problems(path, tensors, rank)


def _header(path: Path) -> tuple[list[_Tensor], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = [
        _Tensor(name, entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    return tensors, 8 + length


def _number_problems(path: Path, tensors: list[_Tensor], begin: int) -> Iterator[Problem]:
    """Where there is no number, or no change.

    Why `lora_B`: LoRA begins with it at zero, so what never learned has a B of zeros.
    """
    import numpy as np

    content = np.memmap(path, mode="r")
    unknown = sorted({tensor.dtype for tensor in tensors} - set(_BITS))
    if unknown:
        yield Problem(
            str(path), "holds numbers of a type that an adapter does not have", got=", ".join(unknown)
        )
        return
    strange = [
        tensor.name for tensor in tensors if _has_no_number(_bits(content, tensor, begin), tensor.dtype)
    ]
    if strange:
        yield Problem(str(path), "holds NaN or infinity", got=", ".join(strange), fix=AGAIN)
    outputs = [tensor for tensor in tensors if "lora_B" in tensor.name]
    if not outputs:
        got = ", ".join(tensor.name for tensor in tensors)
        yield Problem(str(path), "holds no lora_B: it is no LoRA adapter", got=got, fix=AGAIN)
    elif not any((_bits(content, tensor, begin) & _BITS[tensor.dtype][2]).any() for tensor in outputs):
        what = "every lora_B is zero: the adapter changes nothing"
        yield Problem(str(path), what, got=f"{len(outputs)} matrices of zeros", fix=AGAIN)


def _bits(content: NDArray[np.uint8], tensor: _Tensor, begin: int) -> NDArray[np.unsignedinteger[Any]]:
    bits: NDArray[np.unsignedinteger[Any]] = content[begin + tensor.begin : begin + tensor.end].view(
        _BITS[tensor.dtype][0]
    )
    return bits


def _has_no_number(bits: NDArray[np.unsignedinteger[Any]], dtype: str) -> bool:
    exponent = _BITS[dtype][1]
    return bool(((bits & exponent) == exponent).any())


def _rank_problems(path: Path, tensors: list[_Tensor], rank: int | None) -> Iterator[Problem]:
    if rank is None:
        return
    ranks = {tensor.shape[0] for tensor in tensors if "lora_A" in tensor.name and tensor.shape}
    ranks |= {tensor.shape[1] for tensor in tensors if "lora_B" in tensor.name and len(tensor.shape) > 1}
    if ranks - {rank}:
        got = ", ".join(map(str, sorted(ranks)))
        yield Problem(str(path), "has matrices of another rank than its configuration", str(rank), got, AGAIN)
