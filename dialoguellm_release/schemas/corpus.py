"""The registry entry of a corpus: its files, licence, labels and known repairs."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from dialoguellm_release.schemas.base import Commit, Count, Recipe, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import RESERVED_LABELS, SPLITS, CorpusName, Label, Split


def _a_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Pattern = Annotated[Text, AfterValidator(_a_pattern)]
LanguageTag = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


def _a_text_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError("no encoding of texts that Python knows") from None
    return name


Encoding = Annotated[Text, AfterValidator(_a_text_encoding)]


class EpisodeTable(Schema):
    """A CSV table beside the videos that says in which video an utterance is.

    Attributes:
        file: Its name, in the folder of the corpus's videos.
        dialogue, utterance: Columns with the dialogue's id and the utterance's number.
        parts: For each named part of a file's name, the column that has it.
    """

    file: Text
    dialogue: Text
    utterance: Text
    parts: Annotated[dict[Text, Text], Field(min_length=1)]


class ClipNaming(Schema):
    """How a record and a video file are matched: by named parts that both have.

    A file's parts are the named groups of the first pattern that is found in its name without suffix. A
    record's parts are `dialogue`, `utterance` and `split`, as far as the patterns name them; or the named
    groups of `dialogue`; or those of `table`.

    Attributes:
        shows: What one file shows: one `utterance`, or something `longer` that is cut by times.
        splits: Names of folders, with the split whose files are below them.
        top_folder: The part that is the name of the first folder.
        corrected_prefix: A file whose name begins so replaces the one without.
        dialogue: Pattern of dialogue ids, whose named groups are the parts.
        table: Says in which video an utterance is, where neither name nor id does.
    """

    shows: Literal["utterance", "longer"]
    files: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    splits: dict[Text, Split] = {}
    top_folder: Text | None = None
    corrected_prefix: Text | None = None
    dialogue: Pattern | None = None
    table: EpisodeTable | None = None

    @model_validator(mode="after")
    def _one_way_to_records(self) -> Self:
        if self.dialogue and self.table:
            raise ValueError("state dialogue or table, not both")
        return self


class KnownFile(Schema):
    """A public file by its hash.

    Attributes:
        split: The split that it holds; None where it holds several or none.
    """

    path: Text
    bytes: Count
    sha256: Sha256
    split: Split | None = None


Answer = Literal["yes", "no", "unknown"]
"""What a licence says to a question; `unknown` is never taken for a yes."""

Distribution = Literal["exclude", "standoff", "full"]
"""What leaves of a corpus: nothing; ids, labels and positions without text; everything."""

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
"""From the least to the most."""


class CorpusLicense(Schema):
    """The licence of a corpus's text, or of its labels.

    Attributes:
        id: SPDX id, or a `LicenseRef-` where SPDX has none.
        verified: Whether it was looked up there when this file was written.
        redistribute: Whether it may be passed on.
        share_alike: Whether what is made of it has to go under the same licence.
        non_commercial: Whether commercial use is left out.
        research_only: Whether any use but research is left out.
        signed_form: Whether a form has to be signed to get it.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]+$")]
    name: Text
    stated_in: Text
    verified: bool
    redistribute: Answer
    share_alike: Answer
    non_commercial: Answer
    research_only: Answer
    signed_form: Answer
    note: Text | None = None


class Download(Schema):
    """A file that a server gives, or an archive that holds files of the corpus.

    Attributes:
        path: Where the file belongs in the folder of the corpus; of an archive, its name.
        addresses: The official one, then its mirrors; tried in this order.
        verified: Whether the first address gave these bytes when this entry was written.
        git_blob: The id that git gives the content, where no sha256 of it is among `files`.
        members: Of an archive, for each file the names that it may have there; `a.zip/b` is b in a.zip.
    """

    path: Text
    addresses: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://\S+$")], ...], Field(min_length=1)]
    verified: bool
    git_blob: Commit | None = None
    members: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = {}

    @property
    def targets(self) -> tuple[str, ...]:
        """The files that it brings, by their paths in the folder of the corpus."""
        return tuple(self.members) or (self.path,)


class Request(Schema):
    """How to get a corpus that no server gives: whom to ask, and for what."""

    whom: Text
    what: Text


class TableColumns(Schema):
    """The columns of a table, by their names.

    Attributes:
        dialogue: The column that tells dialogues apart, or several; None takes each row as a dialogue.
        utterance: The number of the utterance in its dialogue; None counts the rows of the dialogue from 0.
        split: The split of the row; None where the files tell.
        start, end: Clock times in the video.
    """

    text: Text
    label: Text
    speaker: Text | None = None
    dialogue: tuple[Text, ...] | Text | None = None
    utterance: Text | None = None
    split: Text | None = None
    start: Text | None = None
    end: Text | None = None


Repair = Literal["c1_as_cp1252"]
"""A repair of texts that a format may ask for; `c1_as_cp1252` reads C1 control characters as cp1252."""


class _FilesFormat(Schema):
    """What tables and lists of dialogues have in common.

    Attributes:
        files: A file for each split, relative to the folder of the corpus.
        file: One file for all splits, instead of `files`.
        encoding: Of texts; None is UTF-8, or the UTF-16 or UTF-32 of a byte-order mark.
        ignores_case: Whether case and outer white space of a label mean nothing.
        split_names: How the file names the splits where the name is not a usual one.
        default_split: The split of what states none.
    """

    type: str
    files: dict[Split, Text] = {}
    file: Text | None = None
    encoding: Encoding | None = None
    ignores_case: bool = False
    split_names: dict[str, Split] = {}
    default_split: Split | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The file of all splits, or the files in their order."""
        return (self.file,) if self.file else tuple(self.files[one] for one in SPLITS if one in self.files)

    @model_validator(mode="after")
    def _states_its_files(self) -> Self:
        if bool(self.files) == (self.file is not None):
            raise ValueError("state files (one for each split) or file, and not both")
        return self


class TableFormat(_FilesFormat):
    """Tables with one utterance a row: CSV, TSV, JSON, JSON Lines or Parquet, by the ending of the name.

    Attributes:
        separator: Between the cells of CSV and TSV; None is a comma, and a tab in TSV.
        columns: Which column holds what; `speaker.name` is the key `name` of objects in the column `speaker`.
        dialogue_id: Template of a dialogue's id from its columns, `{0}` the first one, `{0:02}` as a number
            of at least two digits; None joins the columns with `-`.
        speakers: `list` where the cell of the speaker is a Python list of names.
        may_be_empty: `speaker`, `times` for start and end, and `label`, whose rows are context, no records.
    """

    type: Literal["table"]
    separator: Literal[",", ";", "\t", "|"] | None = None
    columns: TableColumns
    dialogue_id: Text | None = None
    speakers: Literal["name", "list"] = "name"
    may_be_empty: tuple[Literal["speaker", "times", "label"], ...] = ()
    repairs: tuple[Repair, ...] = ()

    @model_validator(mode="after")
    def _has_no_second_split(self) -> Self:
        if self.files and self.columns.split:
            raise ValueError("the splits are files, so there can be no column of splits")
        return self


class JsonFormat(_FilesFormat):
    """Files that hold a list of dialogues: JSON; JSON Lines and Parquet with a dialogue in each row.

    Attributes:
        split_keys: Of a file that holds several splits, the key that leads to each.
        dialogues: Keys that lead to the list of dialogues; empty where the file is the list. Where they
            lead to an object, its values are the dialogues and its keys their ids.
        utterances: Key of a dialogue's list of utterances, which are objects; a dialogue may also be that
            list itself. None where the dialogue has parallel lists of texts, speakers and labels.
        id: Key of a dialogue's id; None takes its position from 0.
        split: Key of the split of a dialogue in a `file` of all splits, in it or in each of its utterances.
        text, speaker, label: Keys of an utterance, as in `speaker.name`, or of the lists of a dialogue.
        may_be_empty: `label` where utterances without one are context and no records.
    """

    type: Literal["json"]
    split_keys: dict[Split, Text] = {}
    dialogues: tuple[Text, ...] = ()
    utterances: Text | None = None
    id: Text | None = None
    split: Text | None = None
    text: Text
    speaker: Text | None = None
    label: Text
    may_be_empty: tuple[Literal["label"], ...] = ()

    @model_validator(mode="after")
    def _knows_its_splits(self) -> Self:
        if (self.file is None) != (self.split is None):
            raise ValueError("file and split go together: the dialogues of one file state their splits")
        return self


class UniqueFormat(Schema):
    """The native layout of one corpus, which has a reader of its own."""

    type: Literal["emorynlp_json", "dailydialog", "meisd", "iemocap"]


Format = Annotated[TableFormat | JsonFormat | UniqueFormat, Field(discriminator="type")]


class AuthorsScript(Schema):
    """How the authors' script for this corpus reads an answer; the default is that of their first script.

    Attributes:
        words: Words that it looks for after those that all scripts share, each with its label.
        ids: The labels that have an id, from 0.
    """

    words: dict[Text, Label] = {}
    ids: tuple[Label, ...] = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")


class CorpusEntry(Recipe):
    """What is known of a corpus before a file of it is opened.

    Attributes:
        description: What its texts are, as cards say it.
        text_license, label_license: What holds for the utterances, and for the labels without the text.
        label_space: The labels that its instruction shows, in that order.
        label_map: Every native label, as the corpus spells it, to its canonical one; empty where the labels
            of the label space are the native ones.
        spellings: Misspelt native labels to the ones meant; each use is counted.
        dropped_labels: Native labels that cannot be used, with the reason; each drop is counted.
        landmarks: Further paths by which a folder of the corpus is recognised.
        files: Known public files; one whose hash differs is read with a warning.
        language: BCP 47 tag of the language of the texts, or several; None where it is not known.
        release: Name of the release that `format` reads; None where there is one only.
        releases: Other releases of the corpus by name, each with its format; a dataset recipe chooses one
            with `source`.
        splits: `native` where the files state them, `file` where a file of the dataset recipe does, `drawn`
            where the dataset recipe draws them; what the files state to be held out is then not drawn.
        data: Folder of the files, relative to this file; None is the folder of the corpus's name in
            `--sources`.
        transcribes: Works of which the texts are transcripts; corpora of one work may share texts.
        downloads: What `corpora fetch` brings; none where the corpus has to be asked for.
        request: How to ask; None where it can be fetched.
        clips: How its video files are named; None for a corpus without video.
    """

    kind: Literal["corpus"]
    name: CorpusName
    title: Text
    homepage: Text | None = None
    citation: Text | None = None
    language: tuple[LanguageTag, ...] | LanguageTag | None = None
    text_license: CorpusLicense
    label_license: CorpusLicense
    label_space: tuple[Label, ...]
    label_map: dict[str, Label] = {}
    spellings: dict[str, str] = {}
    dropped_labels: dict[str, Text] = {}
    format: Format
    release: Text | None = None
    releases: dict[Text, Format] = {}
    splits: Literal["native", "file", "drawn"] = "native"
    data: Text | None = None
    transcribes: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    authors_script: AuthorsScript = AuthorsScript()
    landmarks: tuple[Text, ...] = ()
    files: tuple[KnownFile, ...] = ()
    downloads: tuple[Download, ...] = ()
    request: Request | None = None
    clips: ClipNaming | None = None

    @property
    def languages(self) -> tuple[LanguageTag, ...]:
        """The languages of the texts; empty where they are not known."""
        return (self.language,) if isinstance(self.language, str) else self.language or ()

    @property
    def native_labels(self) -> dict[str, Label]:
        """Every native label to its canonical one; without a label map, the label space itself."""
        return self.label_map or {label: label for label in self.label_space}

    @property
    def allowed(self) -> Distribution:
        """The most of it that may leave, by its licences."""
        if self.label_license.redistribute != "yes":
            return "exclude"
        return "full" if self.text_license.redistribute == "yes" else "standoff"

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if reserved := sorted(RESERVED_LABELS & set(self.label_space)):
            raise ValueError(f"no label may be called {', '.join(reserved)}: predictions use it")
        if len(set(self.label_space)) < len(self.label_space):
            raise ValueError("label_space names a label twice")
        if outside := sorted(set(self.label_map.values()) - set(self.label_space)):
            raise ValueError(f"label_map leads outside label_space: {', '.join(outside)}")
        if unknown := sorted(set(self.spellings.values()) - set(self.native_labels)):
            raise ValueError(f"spellings lead to labels not in label_map: {', '.join(unknown)}")
        if both := sorted(set(self.dropped_labels) & set(self.native_labels)):
            raise ValueError(f"dropped_labels and label_map both have {', '.join(both)}")
        return self

    @model_validator(mode="after")
    def _can_be_had_one_way(self) -> Self:
        if self.downloads and self.request is not None:
            raise ValueError("state downloads, or how to request the corpus; not both")
        known = {file.path for file in self.files}
        by_git = {download.path for download in self.downloads if download.git_blob}
        targets = {path for download in self.downloads for path in download.targets}
        if unknown := sorted(targets - known - by_git):
            raise ValueError(f"downloads of which no hash is known: {', '.join(unknown)}")
        return self
