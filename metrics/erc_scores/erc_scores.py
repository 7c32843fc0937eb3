"""The `evaluate` module of the scores; the arithmetic is in `functions.py`."""

from typing import Any

import datasets
import evaluate

from .functions import Labels, erc_scores, label_column

_DESCRIPTION = """\
The scores of emotion recognition in conversations: accuracy, weighted, macro and micro F1, micro F1 without
a named label (the usual figure on DailyDialog, without neutral), each label's own, the confusion matrix, and
the share of answers that name no label, which count as wrong. Weighted F1 is the usual figure on MELD,
EmoryNLP and IEMOCAP. All are fractions from 0 to 1.
"""

_KWARGS_DESCRIPTION = """\
Args:
    predictions: The predicted label of each utterance: names, or integer ids from 0. An answer that names no
        label is "invalid", among ids -1.
    references: The true labels, of the same kind and in the same order.
    labels: The label space, in the order of per_label and confusion_matrix. None takes the labels that occur,
        sorted.
    without: The label that micro_f1_without leaves out, one of the labels. None gives None there.
Returns:
    accuracy: The share of utterances whose label is right.
    weighted_f1: The mean F1 of the labels, weighted by how often each is a reference.
    macro_f1: The mean F1 of the labels, each with the same weight.
    micro_f1: F1 over hits, references and predictions of all labels together.
    micro_f1_without: The same, where neither references nor predictions of the label `without` count.
    invalid: The share of predictions that name no label.
    per_label: precision, recall, f1, references and predictions of each label.
    confusion_matrix: A row a reference, a column a prediction; the last column counts the invalid ones.
Examples:
    >>> erc_scores = evaluate.load("dialoguellm/erc_scores")
    >>> references = ["anger", "neutral", "neutral", "fear"]
    >>> predictions = ["anger", "neutral", "anger", "invalid"]
    >>> results = erc_scores.compute(references=references, predictions=predictions, without="neutral")
    >>> {name: round(results[name], 4) for name in ("accuracy", "weighted_f1", "macro_f1", "micro_f1")}
    {'accuracy': 0.5, 'weighted_f1': 0.5, 'macro_f1': 0.4444, 'micro_f1': 0.5714}
    >>> results["micro_f1_without"], results["invalid"]
    (0.5, 0.25)
    >>> results["confusion_matrix"]
    [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]]
    >>> erc_scores.compute(references=[1, 6, 6], predictions=[1, 6, 6])["weighted_f1"]
    1.0
"""

_CITATION = """\
@article{zhang2023dialoguellm,
  title = {{DialogueLLM}: Context and Emotion Knowledge-Tuned {LLaMA} Models
    for Emotion Recognition in Conversations},
  author = {Zhang, Yazhou and Wang, Mengyao and Tiwari, Prayag and Li, Qiuchi and Wang, Benyou and Qin, Jing},
  journal = {arXiv preprint arXiv:2310.11374},
  year = {2023},
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ErcScores(evaluate.Metric):  # type: ignore[misc]
    """The scores of emotion recognition in conversations."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[
                datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)})
                for kind in ("int64", "string")
            ],
        )

    def add_batch(self, *, predictions: Labels, references: Labels, **kwargs: Any) -> None:
        """Adds labels, once it is sure that `evaluate` does not cast them: 0.7 would become the id 0.

        Raises:
            ValueError: A label is neither a name nor an integer id.
        """
        for name, labels in (("predictions", predictions), ("references", references)):
            label_column(name, labels)
        super().add_batch(predictions=predictions, references=references, **kwargs)

    def add(self, *, prediction: str | int, reference: str | int, **kwargs: Any) -> None:
        """Adds one label, checked as in `add_batch`. Raises ValueError likewise."""
        for name, label in (("prediction", prediction), ("reference", reference)):
            label_column(name, [label])  # type: ignore[arg-type]
        super().add(prediction=prediction, reference=reference, **kwargs)

    def _compute(
        self,
        predictions: Labels,
        references: Labels,
        labels: Labels | None = None,
        without: str | int | None = None,
    ) -> dict[str, Any]:
        return erc_scores(references, predictions, labels, without)
