"""TRL's trainer with our batches, our loss and our count of tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dialoguellm_release.training.batches import Batch, MaskMaker, collator, computed_tokens, summed_loss
from dialoguellm_release.training.examples import EpochOrder, Row, sorted_alike

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerControl
    from trl import SFTConfig, SFTTrainer

    from dialoguellm_release.schemas.recipes.adapter import Packing


def sft_trainer(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    validation: list[Row],
    config: SFTConfig,
    lora: LoraConfig | None,
    packing: Packing,
    mask_of: MaskMaker | None,
) -> SFTTrainer:
    """A trainer that has not begun.

    Args:
        validation: Rows to look at every `eval_steps`; empty for none.
        lora: None where the model has its adapter already.
        mask_of: Makes the mask of a pack; None without packs.
    """
    from datasets import Dataset
    from trl import SFTTrainer

    sequences = [row["input_ids"] for row in rows]

    class Trainer(SFTTrainer):  # type: ignore[misc]
        """Counts the tokens of the rows (`num_tokens`) and those that the model computed."""

        tokens = (0, 0)
        seconds_of_evaluation = 0.0

        def _get_train_sampler(self, _dataset: Any = None) -> EpochOrder:
            devices = self.accelerator.num_processes
            step = config.per_device_train_batch_size * config.gradient_accumulation_steps * devices
            return EpochOrder(sequences, step, packing, config.seed)

        def compute_loss(
            self,
            model: Any,
            inputs: Batch,
            return_outputs: bool = False,
            num_items_in_batch: torch.Tensor | None = None,
        ) -> torch.Tensor:
            if return_outputs:
                raise NotImplementedError("the loss is computed without the logits of all tokens")
            loss: torch.Tensor = summed_loss(model, inputs, mask_of)
            if self.model.training:
                rows, computed = self.tokens
                self.tokens = (rows + inputs["num_tokens"], computed + computed_tokens(inputs))
            if num_items_in_batch is None:
                return loss / len(inputs["labels"])
            # The count is that of all devices, over which the gradients will be averaged.
            devices: int = self.accelerator.num_processes
            return loss / num_items_in_batch * devices

        def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
            """The mean loss over all targets of the validation rows, however they are batched."""
            import torch

            started = time.perf_counter()
            self.model.eval()
            sums = torch.zeros(2, dtype=torch.float64)
            with torch.no_grad(), self.compute_loss_context_manager():
                for batch in self.get_eval_dataloader():
                    inputs = self._prepare_inputs(batch)
                    loss = summed_loss(self.model, inputs, mask_of)
                    sums += torch.tensor([loss.item(), len(inputs["labels"])], dtype=torch.float64)
            self.model.train()
            loss_sum, targets = self.accelerator.reduce(sums.to(self.accelerator.device)).tolist()
            metrics = {f"{metric_key_prefix}_loss": loss_sum / targets}
            self.log(dict(metrics))
            self.control: TrainerControl = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            self.seconds_of_evaluation += time.perf_counter() - started
            return metrics

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            if "loss" in logs:
                logs |= dict(zip(("num_tokens", "num_computed_tokens"), self.all_tokens(), strict=True))
            super().log(logs, start_time)

        def all_tokens(self) -> tuple[int, int]:
            """The tokens so far, on all devices."""
            import torch

            counted = self.accelerator.reduce(torch.tensor(self.tokens, device=self.accelerator.device))
            rows, computed = counted.tolist()
            return rows, computed

    order = sorted_alike(range(len(validation)), [row["input_ids"] for row in validation], packing)
    trainer = Trainer(
        model=model,
        args=config,
        data_collator=collator(packing),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list([validation[index] for index in order]) if validation else None,
        processing_class=tokenizer,
        peft_config=lora,
    )
    # The loss is divided by the targets of the whole step; it must not be divided by the micro-batches too.
    trainer.model_accepts_loss_kwargs = True
    return trainer
