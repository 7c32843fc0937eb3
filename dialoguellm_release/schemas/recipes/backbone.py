"""The backbone recipe: a language model on the Hub or in a folder, or a small one built from a seed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Commit, Positive, Recipe, RepoId, Schema, Text

GgufFile = Annotated[str, Field(pattern=r"^[\w.+-]+\.gguf$")]
WeightsDtype = Literal["float32", "bfloat16", "float16"]


class Architecture(Schema):
    """Keys of a decoder's `transformers` config: enough to tell its size without its weights.

    Attributes:
        head_dim: None is `hidden_size / num_attention_heads`.
        sliding_window: How far back a token sees, where the model limits it; None for everything before it.
    """

    model_type: Literal["llama", "mistral", "qwen2", "qwen3", "smollm3"]
    vocab_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive | None = None
    max_position_embeddings: Positive
    tie_word_embeddings: bool = False
    sliding_window: Positive | None = None

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads is no multiple of num_key_value_heads")
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size is no multiple of num_attention_heads, and head_dim is not stated")
        return self

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of one block, by the name that PEFT targets."""
        head = self.head_dim or self.hidden_size // self.num_attention_heads
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_attention_heads * head, self.num_key_value_heads * head
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all blocks: what quantisation makes smaller."""
        return self.num_hidden_layers * sum(into * out for into, out in self.linear_layers.values())

    @property
    def parameters(self) -> int:
        """All weights."""
        head = self.head_dim or self.hidden_size // self.num_attention_heads
        embeddings = (1 if self.tie_word_embeddings else 2) * self.vocab_size * self.hidden_size
        norms = self.hidden_size + self.num_hidden_layers * 2 * self.hidden_size
        if self.model_type == "qwen3":
            norms += self.num_hidden_layers * 2 * head
        outputs = {name: out for name, (_, out) in self.linear_layers.items()}
        has_biases = self.model_type == "qwen2"
        biases = sum(outputs[name] for name in ("q_proj", "k_proj", "v_proj")) if has_biases else 0
        return embeddings + self.linear_parameters + norms + self.num_hidden_layers * biases


class _WeightsSource(Schema):
    """A model whose weights somebody else made.

    Attributes:
        repo_id: Of the Hub; of a folder, the name by which adapters refer to their base.
        gguf_file: A GGUF file beside it, whose weights are dequantised; None loads safetensors.
        dequantized_to: The type that the weights of a GGUF file become. They are not the original's weights.
        architecture: None where it is not stated; size and memory cannot be estimated then.
    """

    repo_id: RepoId
    gguf_file: GgufFile | None = None
    dequantized_to: WeightsDtype = "float32"
    architecture: Architecture | None = None


class HubSource(_WeightsSource):
    """A model on the Hub.

    Attributes:
        revision: Commit; None loads the branch `main`, and manifests record the commit that was loaded.
    """

    type: Literal["hub"]
    revision: Commit | None = None


class FolderSource(_WeightsSource):
    """A model in a folder: what `save_pretrained` writes, or a GGUF file.

    Attributes:
        path: The folder, absolute or relative to the recipe; in a bundled recipe and with `--set` relative to
            the current directory.
    """

    type: Literal["folder"]
    path: Text


class BuiltSource(Schema):
    """A LLaMA of random weights and its tokenizer, built from a seed without a download.

    Attributes:
        repo_id: The name under which it is published, and which adapters name as their base.
        vocab_size: At most; the tokenizer learns from the words that this project ships.
    """

    type: Literal["built"]
    repo_id: RepoId
    seed: int
    vocab_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    initializer_range: Annotated[float, Field(gt=0)]
    max_position_embeddings: Positive

    @property
    def architecture(self) -> Architecture:
        """The keys of its config; `vocab_size` is the most that it can be."""
        shared = self.model_dump(include=set(Architecture.model_fields))
        return Architecture(model_type="llama", num_key_value_heads=self.num_attention_heads, **shared)


class BackboneRecipe(Recipe):
    """A backbone."""

    kind: Literal["backbone"]
    license: Text
    source: Annotated[HubSource | FolderSource | BuiltSource, Field(discriminator="type")]
