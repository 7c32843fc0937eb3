"""Small tokenizers that behave as those of real backbones."""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, processors
from transformers import PreTrainedTokenizerFast


def with_prefix_space() -> PreTrainedTokenizerFast:
    """One token a character, an own one for the space, and a space before everything, as LLaMA's has it."""
    characters = sorted({chr(code) for code in range(32, 127)} | set("\n’"))
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2, "▁": 3}
    vocabulary |= {character: 4 + index for index, character in enumerate(characters)}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
