from __future__ import annotations

import pytest

from dialoguellm_release.cards.check import check_card

GOOD = """---
license: mit
configs:
- config_name: default
  data_files:
  - split: train
    path: data/meld/train-*.parquet
---

# A card

`load_dataset("owner/name")`, see https://example.org/home/page and data/meld.
"""
FILES = ["data/meld/train-clean-00000.parquet", "README.md"]


def test_a_good_card_has_no_problem() -> None:
    assert check_card(GOOD, FILES) == []


@pytest.mark.parametrize(
    ("before", "after", "where", "what"),
    [
        ("license: mit", "licence: mit", "README.md", "states no license"),
        ("license: mit", "license: GPL-3.0-only", "README.md", "license is no id of the Hub"),
        ("license: mit", "license: [mit, other]", "README.md", "license is other, and license_name"),
        ("license: mit", "license: mit\nlicense_link: LICENSES.md", "README.md", "license_link leads to"),
        ("license: mit", "license: !!python/name:os.system", "README.md", "its metadata is not YAML"),
        ("---\nlicense", "license", "README.md:1", "has no metadata"),
        ("train-*.p", "test-*.p", "README.md: config default, split train", "no file matches"),
        ("data/meld/train-*", "data/*", "README.md: config default, split train", "no file matches"),
        ("default\n  data_files", "default\n  data", "README.md", "configs.0.data_files"),
        ("    path:", "    paths:", "README.md", "configs.0.data_files.0.path"),
        ("# A card", "# A card\n\n{{ title }}", "README.md:12", "a placeholder is left"),
        ("# A card", "# [More Information Needed]", "README.md:10", "a placeholder is left"),
        ("# A card", "# A card of /home/someone/build", "README.md:10", "names a local path"),
        ("# A card", r"# A card of C:\Users\someone", "README.md:10", "names a local path"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(before: str, after: str, where: str, what: str) -> None:
    assert before in GOOD
    problems = check_card(GOOD.replace(before, after), FILES)
    assert [problem.where for problem in problems if problem.what.startswith(what)] == [where]


def test_a_picture_must_be_there_and_have_words() -> None:
    card = GOOD + "![Counts.](figures/a.png) ![](figures/b.png) ![Far.](https://example.org/c.png)\n"
    assert [(problem.what, problem.got) for problem in check_card(card, [*FILES, "figures/b.png"])] == [
        ("shows a picture that is not there", "figures/a.png"),
        ("a picture has no words for those who do not see it", "figures/b.png"),
    ]


def test_a_data_file_that_no_config_reads_is_a_problem() -> None:
    problems = check_card(GOOD, [*FILES, "sft/train-meld-clean-00000.parquet"])
    assert [problem.what for problem in problems] == ["no config reads sft/train-meld-clean-00000.parquet"]


def test_a_config_may_not_stand_there_twice() -> None:
    config = GOOD.partition("configs:\n")[2].partition("---")[0]
    problems = check_card(GOOD.replace("---\n\n#", f"{config}---\n\n#"), FILES)
    assert [problem.what for problem in problems] == ["config default stands there 2 times"]


def test_a_space_needs_no_license() -> None:
    assert check_card("---\ntitle: A metric\nsdk: gradio\n---\n# A metric\n", []) == []
