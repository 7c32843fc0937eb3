from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.cards.check import CardCheck, check_card, check_our_card
from dialoguellm_release.errors import Problem

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


def found(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(one.where.split(":")[1], one.code) for one in problems]


def test_a_good_card_has_no_problem() -> None:
    assert check_our_card(GOOD, FILES) == []


@pytest.mark.parametrize(
    ("before", "after", "line", "code"),
    [
        ("license: mit", "licence: mit", "2", "card.no_license"),
        ("license: mit", "license: GPL-3.0-only", "2", "card.license_id"),
        ("license: mit", "license: [mit, other]", "2", "card.license_name"),
        ("license: mit", "license: mit\nlicense_link: LICENSE.md", "3", "card.license_link"),
        ("license: mit", "license: mit\nlicense_link: README.md", "3", "card.license_link_form"),
        ("license: mit", "license: !!python/name:os.system", "2", "yaml.invalid"),
        ("---\nlicense", "license", "1", "card.no_metadata"),
        ("train-*.p", "test-*.p", "5", "card.no_file_matches"),
        ("data/meld/train-*", "data/*", "5", "card.no_file_matches"),
        ("default\n  data_files", "default\n  data", "4", "card.config_without_files"),
        ("    path:", "    paths:", "6", "card.config"),
        ("# A card", "# A card\n\n{{ title }}", "12", "card.placeholder"),
        ("# A card", "# [More Information Needed]", "10", "card.placeholder"),
        ("# A card", "# A card of /home/someone/build", "10", "card.local_path"),
        ("# A card", r"# A card of C:\Users\someone", "10", "card.local_path"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(before: str, after: str, line: str, code: str) -> None:
    assert before in GOOD
    assert (line, code) in found(check_our_card(GOOD.replace(before, after), FILES))


def test_a_picture_must_exist_and_have_alternative_text() -> None:
    card = GOOD + "![Counts.](figures/a.png) ![](figures/b.png) ![Far.](https://example.org/c.png)\n"
    problems = check_our_card(card, [*FILES, "figures/b.png"])
    assert [(problem.code, problem.got) for problem in problems] == [
        ("card.broken_picture", "figures/a.png"),
        ("card.picture_without_text", "figures/b.png"),
    ]


def test_a_data_file_that_no_config_reads_is_a_problem() -> None:
    (problem,) = check_card(GOOD, [*FILES, "sft/train-meld-clean-00000.parquet"])
    assert problem.code == "card.file_not_read"
    assert "sft/train-meld-clean-00000.parquet" in problem.what


def test_a_config_may_not_be_listed_twice() -> None:
    config = GOOD.partition("configs:\n")[2].partition("---")[0]
    problems = check_card(GOOD.replace("---\n\n#", f"{config}---\n\n#"), FILES)
    assert [problem.code for problem in problems] == ["card.config_repeated"]


def test_a_space_needs_no_license() -> None:
    assert check_our_card("---\ntitle: A metric\nsdk: gradio\n---\n# A metric\n", []) == []


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
    assert found(check_card(f"---\nlicense: mit\n---\n{body}", ["data/a b.csv"])) == [
        (line, "card.broken_link") for line in ("7", "11", "18", "21")
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
    assert check_card(FOREIGN, files) == []
    assert {code for _, code in found(check_our_card(FOREIGN, files))} >= {
        "card.no_license",
        "card.metadata",
        "card.picture_without_text",
        "card.local_path",
        "card.placeholder",
    }


def test_patterns_match_as_datasets_matches_them() -> None:
    expected = [("14", "card.no_file_matches")]
    assert found(check_card(FOREIGN, ["figure.png", "data/b/c.csv"])) == expected
    remote = FOREIGN.replace("data/**/*.csv", "hf://datasets/a/b/c.csv")
    assert check_card(remote, ["figure.png", "data/a.csv"]) == []


def test_what_others_left_unfinished_is_named_outside_of_code() -> None:
    unfinished = FOREIGN + "\nMore information needed, see /home/me/notes and [it](gone.md).\n"
    assert sorted(found(check_card(unfinished, ["data/a.csv", "figure.png"]))) == [
        ("27", "card.broken_link"),
        ("27", "card.local_path"),
        ("27", "card.placeholder"),
    ]


@pytest.mark.parametrize(
    ("metadata", "line", "code"),
    [
        ("license: mit\nlicense: mit", "3", "yaml.not_allowed"),
        ("license: mit\ntags: [a, no]", "3", "card.metadata"),
        ("license: mit\ndate: 2026-13-01", "2", "yaml.invalid"),
        ("license: mit\ntags: [a", "3", "yaml.invalid"),
        ("a: &a [*a]", "2", "yaml.too_large"),
        (f"a: {'[' * 3000}{']' * 3000}", "2", "yaml.invalid"),
        (f"a: {'[' * 100_000}", "2", "yaml.invalid"),
        ("- license", "1", "card.metadata_not_a_mapping"),
        ("configs:\n- config_name: a\n  data_files:\n  - {split: a-b, path: x}", "5", "card.config"),
        ("configs: [{config_name: a, default: true}, {config_name: default}]", "2", "card.config_default"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_metadata_that_cannot_be_read_is_named_by_its_line(
    metadata: str, line: str, code: str, line_end: str
) -> None:
    card = f"---\n{metadata}\n---\n# A card\n".replace("\n", line_end)
    assert found(check_card(card, []))[0] == (line, code)


def test_a_few_lines_that_stand_for_billions_are_refused_at_once() -> None:
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(names)]
    metadata = "\n".join(lines)
    assert found(check_card(f"---\n{metadata}\ntags: [*j, *j]\n---\n", [])) == [("2", "yaml.too_large")]


def test_a_byte_order_mark_is_named() -> None:
    (problem,) = check_card(f"\ufeff{GOOD}", FILES)
    assert problem.code == "card.no_metadata"
    assert problem.fix is not None
    assert "byte-order mark" in problem.fix


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


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=20),
    st.sampled_from([check_card, check_our_card]),
)
def test_no_text_stops_the_check(pieces: list[str], check: CardCheck) -> None:
    text = "".join(pieces)
    problems = check(text, ["README.md"])
    count = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= int(one.where.split(":")[1]) <= count for one in problems)
