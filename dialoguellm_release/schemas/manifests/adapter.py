"""The manifest of an adapter folder: what it was trained on, and what that took."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.knowledge import Knowledge
from dialoguellm_release.schemas.manifests.base import Manifest

LOSS_FIGURE = "figures/loss.png"
"""The loss curve of an adapter folder."""

TRAINING_LOG = "training_log.jsonl"
"""What was measured in training, one JSON object a line."""


class AdapterFigures(Schema):
    """The figures of a training run.

    Attributes:
        base_content_sha256: Content of a backbone of our own making; None for one from the Hub.
        dataset_content_sha256: The dataset that it was trained on.
        init_adapter_sha256: Settings and weights of the folder that the training went on from; None where it
            started anew, or from a commit on the Hub, which the recipe names.
        knowledge: What its prompts show beside the input; scoring must show the same.
        truncated_records: Records whose context or description was shortened to fit.
        tokens: Of the training records, each counted once.
        first_loss: Mean loss over the first step; `last_loss` over the last logged steps.
        validation_records: Records of the validation split that were looked at.
        validation_loss: Of the weights that were kept, a mean over tokens; None where nobody looked.
    """

    base: Text
    base_revision: Text | None
    base_content_sha256: Sha256 | None
    dataset_config: Text
    dataset_content_sha256: Sha256
    prompt_sha256: Sha256
    knowledge: Knowledge = Knowledge()
    init_adapter_sha256: Sha256 | None = None
    records: Count
    truncated_records: Count
    tokens: Count = 0
    trainable_parameters: Count
    steps: Count
    first_loss: float
    last_loss: float
    validation_records: Count = 0
    validation_loss: float | None = None
    seed: int


Precision = Literal["bf16", "fp16", "float32"]


class TrainingRun(Schema):
    """What a training took on the machine where it ran: no part of any hash.

    Attributes:
        hardware: The accelerator, or the kind of processor.
        devices: Processes that trained together.
        precision: In which the model computed; None in older manifests, as `steps`.
        steps: That the figures below are of: fewer than all where the training was resumed.
        seconds: Spent on these steps.
        tokens_per_second: Tokens of the records, each record's counted in full.
        computed_tokens_per_second: Tokens that passed through the model: fewer where packs share a prefix,
            more with padding.
    """

    hardware: Text
    devices: Count = 1
    precision: Precision | None = None
    steps: Count | None = None
    seconds: float
    tokens_per_second: float
    computed_tokens_per_second: float


class AdapterManifest(Manifest):
    """The manifest of an adapter folder.

    Attributes:
        run: Kept as it is where the same adapter is trained again in its place.
    """

    kind: Literal["adapter"] = "adapter"
    figures: AdapterFigures
    run: TrainingRun | None = None
