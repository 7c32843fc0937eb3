"""One module for each format of native files; here are those that only one corpus has."""

from __future__ import annotations

from dialoguellm_release.corpora.readers.dailydialog import read_dailydialog
from dialoguellm_release.corpora.readers.emorynlp_json import read_emorynlp_json
from dialoguellm_release.corpora.readers.iemocap import read_iemocap
from dialoguellm_release.corpora.readers.meisd import read_meisd
from dialoguellm_release.schemas.labels import SPLITS, Split

UNIQUE_READERS = {
    "emorynlp_json": read_emorynlp_json,
    "dailydialog": read_dailydialog,
    "meisd": read_meisd,
    "iemocap": read_iemocap,
}


UNIQUE_SPLITS: dict[str, tuple[Split, ...]] = {
    "emorynlp_json": SPLITS,
    "dailydialog": SPLITS,
    "meisd": (),
    "iemocap": ("train", "test"),
}
"""The splits that each of these formats has."""
