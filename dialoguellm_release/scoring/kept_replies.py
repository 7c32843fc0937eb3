"""Replies of a model that runs here, kept as they are made: a killed run continues where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.folders import sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.scoring.answers import Reply, Scorer
from dialoguellm_release.serve.store import StoredAnswer, forget, keep, open_store, request_key

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
    """The reply to each prompt, from the store or the model; prompts of the same text are asked once.

    Args:
        asked: What, with the text of a prompt, decides the reply: model, revision, way of asking, versions.
        folder: Holds the store.
        again: Forget what the store holds of these prompts.
    """
    distinct = list({prompt.text: prompt for prompt in prompts}.values())
    keys = [request_key(**asked, prompt=sha256_of_text(prompt.text)) for prompt in distinct]
    batches = scorer.plan(distinct)
    with open_store(folder / STORE) as store, progress("score", len(distinct)) as advance:
        if again:
            store.commit([forget(keys)])
        known = {key: _reply(answer) for key, answer in store.answers(keys).items()}
        for batch in batches:
            wanted = [keys[place] for place in batch.places]
            if any(key not in known for key in wanted):
                replies = dict(zip(wanted, scorer.replies(distinct, batch), strict=True))
                store.commit([keep(key, _kept(reply)) for key, reply in replies.items()])
                known.update(replies)
            advance(len(batch.places))
    by_text = {prompt.text: known[key] for prompt, key in zip(distinct, keys, strict=True)}
    return [by_text[prompt.text] for prompt in prompts]


def _kept(reply: Reply) -> StoredAnswer:
    return StoredAnswer("answered", reply.text, data=reply.log_probs)


def _reply(answer: StoredAnswer) -> Reply:
    return Reply(None if answer.data is None else tuple(answer.data), answer.text)
