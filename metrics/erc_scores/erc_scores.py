"""The `evaluate` module of the scores; the arithmetic is in `functions.py`."""

import datasets
import evaluate

from .functions import Labels, erc_scores

_DESCRIPTION = """\
Accuracy and weighted F1 for emotion recognition in conversations. Weighted F1 is the mean of the F1 of each
class, weighted by how often the class is a reference; it is the usual headline figure on MELD, EmoryNLP and
IEMOCAP.
"""

_KWARGS_DESCRIPTION = """\
Args:
    predictions: The predicted label of each utterance: names, or integer ids.
    references: The true labels, of the same kind and in the same order.
Returns:
    accuracy: The fraction of utterances whose label is right, from 0 to 1.
    weighted_f1: The mean F1 of the classes, weighted by their support in the references, from 0 to 1.
Examples:
    >>> erc_scores = evaluate.load("dialoguellm/erc_scores")
    >>> references = ["anger", "neutral", "neutral", "fear"]
    >>> predictions = ["anger", "neutral", "anger", "neutral"]
    >>> results = erc_scores.compute(references=references, predictions=predictions)
    >>> {name: round(value, 4) for name, value in results.items()}
    {'accuracy': 0.5, 'weighted_f1': 0.4167}
    >>> erc_scores.compute(references=[1, 6, 6], predictions=[1, 6, 6])
    {'accuracy': 1.0, 'weighted_f1': 1.0}
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
    """Accuracy and weighted F1."""

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

    def _compute(self, predictions: Labels, references: Labels) -> dict[str, float]:
        return erc_scores(references, predictions)
