"""Replies of a model, how they are kept, and the answers that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.processes import gathered, rank, started
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.corpus import AuthorsScript
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.serve.store import StoredAnswer, forget, keep, open_store, request_key


@dataclass(frozen=True)
class Reply:
    """The reply of a model to one prompt: a log-probability for each label, or the text that it wrote."""

    log_probs: tuple[float, ...] | None = None
    text: str | None = None


@dataclass(frozen=True)
class Batch:
    """The places of prompts that are answered together, and how many first tokens all of them share."""

    places: tuple[int, ...]
    shared: int = 0


class Scorer(Protocol):
    """Asks a model in batches, so that each batch can be stored at once."""

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        """The prompts in batches; the same prompts give the same batches."""

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The replies to one batch of the planned prompts, in the order of its places."""


@dataclass(frozen=True)
class Answer:
    """The answer of a system to one record."""

    label: Label | None  # None where it names no label of the label space, or is drawn at random
    is_drawn: bool = False  # whether the label is drawn at random, with chances that the whole run shares
    scores: tuple[float, ...] | None = None  # a probability for each label of the label space
    text: str | None = None


Drawn = Literal["drawn"]

_WORD_LIST = (
    "happy=happiness happiness=happiness joy=happiness fear=fear scare=fear sad=sadness sadness=sadness "
    "disgust=disgust disgusting=disgust hate=disgust surprise=surprise anger=anger angry=anger rage=anger "
    "neutral=neutral amazed=surprise surprising=surprise amazing=surprise 0=neutral"
)
_WORDS: dict[str, Label] = {
    word: label for word, _, label in (one.partition("=") for one in _WORD_LIST.split())
}
"""The words that every script of the authors looks for, in this order."""

_DICE = 7
"""The scripts draw an id from 0 to 6, whatever the corpus."""


def parse(text: str, labels: Sequence[Label]) -> Label | None:
    """The label that a text is, or None.

    The first line has to be the label and nothing else, but for white space, upper case and a final stop.

    >>> parse(" Happiness." + chr(10) + "more", ["anger", "happiness"])
    'happiness'
    >>> parse("unhappiness", ["anger", "happiness"]) is None
    True
    """
    first = text.strip().partition("\n")[0].strip().casefold().removesuffix(".").rstrip()
    return next((label for label in labels if label.casefold() == first), None)


def parse_as_authors(text: str, script: AuthorsScript) -> Label | Drawn:
    """The label that the authors' scripts find in a text, or `drawn` where they draw one at random.

    Of the text up to its first full stop and line break, the first word of their list that occurs anywhere
    in it decides: "unhappy" contains "happy". A word that they list but give no id leads to a draw too. What
    a script adds for its corpus is in the corpus file (`authors_script`). Their fallback "Neutral" for a
    missing `### Response:` cannot occur, as only what follows the prompt is read.

    Source: Dreamyao516/DialogueLLM, the three scripts `py/myllama-generate-*.py`.

    >>> parse_as_authors("I am unhappy", AuthorsScript())
    'happiness'
    >>> parse_as_authors("bored", AuthorsScript())
    'drawn'
    """
    shown = text.strip().lower().partition(".")[0].strip().partition("\n")[0]
    found = next((label for word, label in (_WORDS | script.words).items() if word in shown), None)
    return found if found in script.ids and found is not None else "drawn"


def authors_dice(script: AuthorsScript, labels: Sequence[Label]) -> dict[Label, float]:
    """How likely the authors' scripts draw each label; the rest to 1 are labels outside the label space.

    >>> authors_dice(AuthorsScript(), ["happiness", "frustration"])
    {'happiness': 0.14285714285714285, 'frustration': 0.0}
    """
    thrown = script.ids[:_DICE]
    return {label: thrown.count(label) / _DICE for label in labels}


def authors_script_of(corpus: CorpusName, dataset: DatasetManifest) -> AuthorsScript:
    """The authors' script of a corpus: of its bundled file, else of the corpus file of the dataset."""
    if entry := bundled_entry(corpus):
        return entry.authors_script
    stated: Any = dataset.recipe.resolved
    for key in ("corpora", corpus, "entry", "authors_script"):
        stated = stated.get(key) if isinstance(stated, dict) else None
    return AuthorsScript.model_validate_json(canonical_json(stated or {}))


STORE = "answers.sqlite"
"""The file in a cache folder that holds every reply."""


def kept_replies(
    scorer: Scorer,
    prompts: Sequence[EncodedPrompt],
    asked: Mapping[str, object],
    folder: Path,
    *,
    again: bool = False,
) -> list[Reply]:
    """The reply to each prompt, from the store in a folder or the model; the same text is asked once.

    Several processes share out the batches, and each gets the replies to all. The batches are those of one
    process, and so are the replies. `asked`, with the text of a prompt, decides the reply.
    """
    distinct = list({prompt.text: prompt for prompt in prompts}.values())
    keys = [request_key(**asked, prompt=sha256_of_text(prompt.text)) for prompt in distinct]
    batches = scorer.plan(distinct)
    own = [keys[place] for batch in batches[rank() :: started()] for place in batch.places]
    with open_store(folder / STORE) as store, progress("score", len(distinct)) as advance:
        if again:
            store.commit([forget(own)])
        known = {
            key: Reply(None if answer.data is None else tuple(answer.data), answer.text)
            for key, answer in store.answers(own).items()
        }
        for start in range(0, len(batches), started()):
            at_once = batches[start : start + started()]
            for batch in at_once[rank() : rank() + 1]:
                wanted = [keys[place] for place in batch.places]
                if all(key in known for key in wanted):
                    continue
                replies = dict(zip(wanted, scorer.replies(distinct, batch), strict=True))
                store.commit(
                    [
                        keep(key, StoredAnswer("answered", reply.text, data=reply.log_probs))
                        for key, reply in replies.items()
                    ]
                )
                known.update(replies)
            advance(sum(len(batch.places) for batch in at_once))
    known = {key: reply for part in gathered(known) for key, reply in part.items()}
    by_text = {prompt.text: known[key] for prompt, key in zip(distinct, keys, strict=True)}
    return [by_text[prompt.text] for prompt in prompts]
