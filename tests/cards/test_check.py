from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("license: mit", "licence: mit", "README.md:1", "states no license"),
        ("license: mit", "license: GPL-3.0-only", "README.md:2", "license is no id of the Hub"),
        ("license: mit", "license: [mit, other]", "README.md:2", "license is other, and license_name"),
        ("license: mit", "license: mit\nlicense_link: LICENSES.md", "README.md:3", "license_link leads to"),
        ("license: mit", "license: !!python/name:os.system", "README.md:2", "its metadata is not YAML"),
        ("---\nlicense", "license", "README.md:1", "has no metadata"),
        ("train-*.p", "test-*.p", "README.md:5", "config default, split train: no file matches"),
        ("data/meld/train-*", "data/*", "README.md:5", "config default, split train: no file matches"),
        ("default\n  data_files", "default\n  data", "README.md:4", "configs.0.data_files"),
        ("    path:", "    paths:", "README.md:6", "configs.0.data_files.0.path: "),
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


def places(text: str, files: list[str], *, is_ours: bool = True) -> list[tuple[str, str]]:
    return [(one.where.partition(":")[2], one.what) for one in check_card(text, files, is_ours=is_ours)]


def test_links_are_followed_as_a_reader_follows_them() -> None:
    body = """
[there](data), [page](tree/main/data/a%20b.csv), [titled](<data/a b.csv> "a title"), [up](../../discussions),
[far](https://example.org/gone.md), [mail](mailto:a@b.org), [here](#a-card), [site](/datasets/owner/name),
[gone](gone.md#part)

| column |
|---|
| [gone](table.md) and `[code](code.md)` |

```
[code](fence.md)
```

<p>
<a href="html.md">gone</a>
</p>

A [reference].

[reference]: reference.md
"""
    assert places(f"---\nlicense: mit\n---\n{body}", ["data/a b.csv"]) == [
        (f"{line}", "links to a file that is not there") for line in (7, 11, 18, 21)
    ]


FOREIGN = """---
library_name: sentence-transformers
base_model: gpt2
datasets:
- imdb
model-index:
- name: somebody's
  results: []
configs:
- config_name: one
  data_files: data/**/*.csv
- config_name: other
  data_dir: data
  data_files:
  - "*.csv"
---
# Somebody's card

![](figure.png)

Say `{{ name }}` and:

```python
load("/home/me/model", "{{ name }}")
```
"""


def test_a_card_of_others_is_held_to_the_rules_of_the_hub_alone() -> None:
    files = ["data/a.csv", "data/b/c.csv", "figure.png"]
    assert places(FOREIGN, files, is_ours=False) == []
    assert {what.partition(":")[0] for _, what in places(FOREIGN, files)} >= {
        "states no license",
        "base_model.constrained-str",
        "a picture has no words for those who do not see it",
        "names a local path",
        "a placeholder is left",
    }


def test_patterns_match_as_datasets_matches_them() -> None:
    assert places(FOREIGN, ["figure.png", "data/b/c.csv"], is_ours=False) == [
        ("14", "config other, split train: no file matches")
    ]
    remote = FOREIGN.replace("data/**/*.csv", "hf://datasets/a/b/c.csv")
    assert places(remote, ["figure.png", "data/a.csv"], is_ours=False) == []


def test_what_others_left_unfinished_is_named_outside_of_code() -> None:
    unfinished = FOREIGN + "\nMore information needed, see /home/me/notes and [it](gone.md).\n"
    assert sorted(places(unfinished, ["data/a.csv", "figure.png"], is_ours=False)) == [
        ("27", "a placeholder is left"),
        ("27", "links to a file that is not there"),
        ("27", "names a local path"),
    ]


@pytest.mark.parametrize(
    ("metadata", "place", "what"),
    [
        ("license: mit\nlicense: mit", "3", "license: stands there twice"),
        ("license: mit\ntags: [a, no]", "3", "tags.1: "),
        ("license: mit\ndate: 2026-13-01", "1", "its metadata is not YAML: month"),
        ("license: mit\ntags: [a", "3", "its metadata is not YAML: "),
        ("a: &a [*a]", "1", "its metadata is far larger"),
        (f"a: {'[' * 3000}{']' * 3000}", "1", "its metadata is not YAML: "),
        ("- license", "1", "its metadata is not a mapping"),
        ("configs:\n- config_name: a\n  data_files:\n  - {split: a-b, path: x}", "5", "configs.0.data_"),
        ("configs: [{config_name: a, default: true}, {config_name: default}]", "2", "several configs"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_metadata_that_cannot_be_read_is_told_by_its_line(
    metadata: str, place: str, what: str, line_end: str
) -> None:
    card = f"---\n{metadata}\n---\n# A card\n".replace("\n", line_end)
    found = places(card, [], is_ours=False)
    assert found[0][0] == place
    assert found[0][1].startswith(what)


def test_a_few_lines_that_stand_for_billions_are_refused_at_once() -> None:
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(names)]
    metadata = "\n".join(lines)
    assert places(f"---\n{metadata}\ntags: [*j, *j]\n---\n", [], is_ours=False) == [
        ("1", "its metadata is far larger than what is written there")
    ]


def test_a_mark_at_the_start_of_a_file_is_told() -> None:
    (problem,) = check_card(f"\ufeff{GOOD}", FILES, is_ours=False)
    assert problem.what == "has no metadata"
    assert problem.fix == "save it as UTF-8 without a byte order mark"


PIECES = [
    "---\n",
    "license: mit\n",
    "configs:\n",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "](",
    "<img src=",
    "```\n",
    "\ud800",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=20), st.booleans())
def test_no_text_stops_the_check(pieces: list[str], is_ours: bool) -> None:
    text = "".join(pieces)
    problems = check_card(text, ["README.md"], is_ours=is_ours)
    count = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= int(one.where.split(":")[1]) <= count for one in problems)
