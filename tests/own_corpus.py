"""A corpus of a user in another language than English: its table, its corpus file, its dataset recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dialoguellm_release.resources import resource_folder
from tests.dataset.test_scripts import SENTENCES

LABELS = ("anger", "happiness", "sadness", "surprise")
SPLIT_OF = {"a": "train", "b": "train", "c": "validation", "d": "test"}
LANGUAGES = {"ar": "ar", "hi": "hi", "th": "th", "zh": "zh-Hans"}
"""Of the sentences: the BCP 47 tag."""


def write_own_corpus(folder: Path, language: str, **changes: Any) -> Path:
    """The dataset recipe of a corpus named `talk` whose table is `folder/talk/talk.jsonl`.

    Where there is a prompt in its language, the recipe names a copy of it that lies beside the recipe.

    Args:
        changes: Of the corpus file; `distribution` of the dataset recipe.
    """
    rows = [
        {"scene": scene, "who": "AB"[turn], "said": said, "felt": LABELS[number % 4], "part": SPLIT_OF[scene]}
        for number, said in enumerate(SENTENCES[language])
        for scene, turn in [("abcd"[number // 2], number % 2)]
    ]
    (folder / "talk").mkdir(parents=True)
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "talk" / "talk.jsonl").write_text(table, encoding="utf-8")
    terms = {"id": "CC-BY-4.0", "name": "CC BY 4.0", "stated_in": "its readme", "verified": True}
    answers = {"share_alike": "no", "non_commercial": "no", "research_only": "no", "signed_form": "no"}
    columns = {"text": "said", "label": "felt", "speaker": "who", "dialogue": "scene", "split": "part"}
    distribution = changes.pop("distribution", "full")
    corpus = {
        "version": 1,
        "kind": "corpus",
        "name": "talk",
        "title": "Talk",
        "description": "sentences that the tests invented",
        "citation": "Tester et al. (2026): A Talk in Four Scenes.",
        "language": LANGUAGES[language],
        "text_license": terms | answers | {"redistribute": "yes"},
        "label_license": terms | answers | {"redistribute": "yes"},
        "format": {"type": "table", "file": "talk.jsonl", "columns": columns},
        "label_space": list(LABELS),
        **changes,
    }
    prompt = resource_folder("recipes") / "prompts" / f"dialogue-{language}.yaml"
    if prompt.is_file():
        (folder / "my-prompt.yaml").write_bytes(prompt.read_bytes())
    dataset = {
        "version": 1,
        "kind": "dataset",
        "description": "Talk as instructions.",
        "pretty_name": "Talk",
        "prompt": "my-prompt.yaml" if prompt.is_file() else "dialogue-v1",
        "context_k": 1,
        "corpora": {"talk": {"file": "talk.yaml", "distribution": distribution}},
    }
    for name, recipe in (("talk", corpus), ("talk-dataset", dataset)):
        text = json.dumps(recipe, ensure_ascii=False, indent=1)  # JSON is YAML
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / "talk-dataset.yaml"
