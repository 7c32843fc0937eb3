"""`dataset_info` of a dataset card: the columns of each config, for readers that do not open a file first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dialoguellm_release.layout import SFT_CONFIG, STANDOFF_CONFIG
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.record import COLUMNS

SFT_COLUMNS = ("id", "prompt", "completion")
_LISTS = frozenset({"context", "other_labels", "leaks"})
_NUMBERS = {"utterance_index": "int64", "start_s": "float64", "end_s": "float64"}


def dataset_info(config_names: Iterable[str], labels: Sequence[Label]) -> list[dict[str, object]]:
    """An entry for each config whose columns are known.

    Why no sizes: `datasets` takes them as a promise and fails where one is wrong; the card has them in
    tables. Why `sequence`: it is the form of a list that old and new versions of `datasets` read.
    """
    records = [_feature(name, labels) for name in COLUMNS]
    prompts: list[dict[str, object]] = [{"name": name, "dtype": "string"} for name in SFT_COLUMNS]
    return [
        {"config_name": name, "features": prompts if name == SFT_CONFIG else records}
        for name in config_names
        if name != STANDOFF_CONFIG
    ]


def _feature(column: str, labels: Sequence[Label]) -> dict[str, object]:
    if column == "label":
        names = {str(index): label for index, label in enumerate(labels)}
        return {"name": column, "dtype": {"class_label": {"names": names}}}
    return {"name": column, "sequence" if column in _LISTS else "dtype": _NUMBERS.get(column, "string")}
