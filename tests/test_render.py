"""Tables and numbers as they are shown."""

from __future__ import annotations

import csv
import io

import pytest

from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Table

LONG = "The five corpora of the paper, in the form of instructions, with everything that was left out counted"


def table(*rows: tuple[str, ...]) -> Table:
    return Table(["recipe", Column("records", "right"), "description"], rows)


def words(text: str) -> list[str]:
    return sorted(text.split())


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_a_table_keeps_to_the_width_and_its_words_whole(width: int) -> None:
    text = table(("datasets/paper", "12,345", LONG), ("b", "7", "short")).text(width)
    assert max(map(len, text.splitlines())) <= width
    assert set(words(LONG)) <= set(words(text))


def test_numbers_are_aligned_to_the_right() -> None:
    text = table(("a", "1", "x"), ("b", "1,000", "y")).text(80)
    assert text.splitlines() == [
        "recipe  records  description",
        "a             1  x",
        "b         1,000  y",
    ]


def test_rows_that_do_not_fit_become_blocks() -> None:
    digest = "0123456789abcdef" * 4
    text = Table(["file", "sha256", "state"], [("a.csv", digest, "known"), ("b.csv", digest, "-")]).text(72)
    assert text.split("\n\n")[0].splitlines() == ["file    a.csv", f"sha256  {digest}", "state   known"]
    assert text.count(digest) == 2


def test_wide_characters_take_two_cells() -> None:
    lines = Table(["label", "n"], [("感情感情", "1"), ("neutral", "2")]).text(80).splitlines()
    assert lines == ["label     n", "感情感情  1", "neutral   2"]


def test_markup_is_text() -> None:
    assert "[bold]" in Table(["a"], [("[bold]x[/bold]",)]).text(80)


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, table(("a", "1", LONG)).text().splitlines())) <= 50


def test_csv_can_be_read_back_and_markdown_and_latex_escape() -> None:
    rows = [("a,b", "1", 'say "x"\nand y'), ("a|b", "2", "100 % of a_b")]
    written = table(*rows)
    read = list(csv.reader(io.StringIO(written.csv())))
    assert read == [list(written.header), *map(list, rows)]
    assert written.markdown().splitlines()[1:3] == ["| --- | ---: | --- |", '| a,b | 1 | say "x" and y |']
    assert r"a\|b" in written.markdown()
    assert r"100 \% of a\_b \\" in written.latex()
    assert written.latex().startswith(r"\begin{tabular}{lrl}")


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 cells"):
        table(("a", "b"))


def test_what_was_not_measured_is_a_dash_and_zero_is_zero() -> None:
    formats = (
        numbers.count,
        numbers.percent,
        numbers.points,
        numbers.size,
        numbers.duration,
        numbers.dollars,
    )
    assert {form(None) for form in formats} == {"-"}
    assert [form(0) for form in formats] == ["0", "0.0 %", "0.00", "0 bytes", "0.0 s", "$0.0000"]
    assert numbers.percent_of(0, 0) == "-"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB")],
)
def test_sizes_change_the_unit_at_a_thousand(value: int, shown: str) -> None:
    assert numbers.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(59.94, "59.9 s"), (59.96, "1 min 0 s"), (3599.6, "1 h 0 min"), (3660, "1 h 1 min")]
)
def test_durations_change_the_unit_without_a_gap(value: float, shown: str) -> None:
    assert numbers.duration(value) == shown
