"""The step engine: an output is stored with all that shaped it, and is current while that is the same."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, get_args

from pydantic import JsonValue

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import (
    AnyManifest,
    clear_left_over,
    file_problems,
    files_of,
    leaves,
    package_versions,
    read_manifest,
    sha256_of,
    sha256_of_text,
    staged,
    stamp,
    write_manifest,
)
from dialoguellm_release.folders import Output as Output
from dialoguellm_release.progress import say
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import NAMED_BY, Loaded, Model, is_path
from dialoguellm_release.resources import is_recording, recorded, recording, resource_at, resource_sha256
from dialoguellm_release.schemas.base import Kind, RecipeKind
from dialoguellm_release.schemas.manifests import FileStamp, Manifest, RecipeStamp

BUILD = Path("build")
StrPath = str | os.PathLike[str]
MAX_SHOWN = 8
"""So many differences are named; the rest are counted."""

MAX_VALUE = 60
MAX_NAME = 100
_HASH = re.compile("[0-9a-f]{64}")

Part = Literal[
    "request", "recipe", "settings", "folders", "resources", "files", "versions", "rendering", "outputs"
]

_ALL: frozenset[Part] = frozenset(get_args(Part)) - {"rendering"}
_PROTECTED: dict[Kind, frozenset[Part]] = {
    "adapter": _ALL,
    "score": frozenset({"request", "recipe", "settings"}),
}
_PROTECTED_ANYWHERE: frozenset[Part] = frozenset({"request", "settings"})


@dataclass(frozen=True)
class Inputs:
    """What shapes an output, as it is now.

    The resources are not among them: they are recorded while the step runs. Nor are the native files: a
    step's function says which it read.
    """

    recipe: RecipeStamp  # as it was resolved, with its overrides
    # Content hash of each input folder, by what it is ("dataset", "adapter"); for a model on the Hub its id
    # and revision.
    folders: Mapping[str, str] = field(default_factory=dict[str, str])
    # What was asked for beside the recipe, by a plain name ("server address").
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    packages: tuple[str, ...] = ()
    sources: Path | None = None  # the folder below which the native files are; None where there are none
    # Folders that take the place of `sources/NAME`, by that name.
    own_sources: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class StepResult(Generic[AnyManifest]):
    """The folder that a step made or found current.

    Attributes:
        folder: Where it is.
        manifest: What it holds, and from what it was made.
        was_current: Whether nothing had to be done.

    Example:
        >>> result = build_backbone("tiny")  # doctest: +SKIP
        >>> result.manifest.parameters  # doctest: +SKIP
        1180160
    """

    folder: Path
    manifest: AnyManifest
    was_current: bool

    def __repr__(self) -> str:
        state = "current" if self.was_current else "new"
        content = self.manifest.content_sha256[:12]
        return f"StepResult({self.folder}: {self.manifest.kind}, {state}, content {content})"


@dataclass(frozen=True)
class Difference:
    """One way in which the inputs of a folder are not the present ones, in plain words."""

    part: Part
    text: str


def run_step(
    model: type[AnyManifest],
    out: Path,
    inputs: Inputs,
    make: Callable[[Path], Output],
    finish: Callable[[Path, AnyManifest], None] | None = None,
    *,
    again: bool = False,
    replace: bool = False,
) -> StepResult[AnyManifest]:
    """The folder that a step makes: nothing is done where it is current, else it is made and put in place.

    A folder is current when its files are intact and the inputs that its manifest states equal the present
    ones; what differs is said on stderr. A new folder takes the place of the old one when it is complete.

    Finished work is not replaced unasked. What was asked for is the recipe and the settings; what it is made
    from (folders, native files, resources, package versions) may change below it.

    - Any folder of another recipe, or with other settings, is another request: it stays unless `replace`.
    - A score also stays where the recipe of the same name was edited: asking a model takes long.
    - An adapter stays whatever differs: nothing gives hours of training back.
    - Any other folder whose inputs changed is made again, and so is one whose files are damaged.
    - Where only what `finish` read differs (a card template), `finish` alone is run again; nothing is lost.

    Args:
        make: Writes the files into an empty folder and gives back what the manifest says of them.
        finish: Adds what is rendered from the manifest (the card); it gets a draft that lists the files of
            `make`.
    """
    old, found = _compared(model, out, inputs)
    if current := _current(out, old, found, again=again, replace=replace):
        return current
    with ExitStack() as around:
        if not is_recording():
            around.enter_context(recording())
        folder = around.enter_context(staged(out, model.model_fields["kind"].default))
        if old and found and all(one.part == "rendering" for one in found):
            shutil.copytree(out, folder, dirs_exist_ok=True)
            stated = dict(old.__dict__)
        else:
            stated = _stated(make(folder), inputs)
        stamps = _stamper(folder)
        with recording() as rendering:
            if finish:
                finish(folder, model(**{**stated, "outputs": stamps()}))
        manifest = model(**{**stated, "rendered_with": _digests(rendering), "outputs": stamps()})
        write_manifest(folder, manifest)
    return StepResult(out, manifest, was_current=False)


def current_result(
    model: type[AnyManifest], out: Path, inputs: Inputs, *, again: bool = False, replace: bool = False
) -> StepResult[AnyManifest] | None:
    """The folder as it is, where `run_step` would do nothing; None where it would make it."""
    return _current(out, *_compared(model, out, inputs), again=again, replace=replace)


def _compared(
    model: type[AnyManifest], out: Path, inputs: Inputs
) -> tuple[AnyManifest | None, tuple[Difference, ...]]:
    """The manifest that is there, and how its inputs differ from the present ones."""
    try:
        old = read_manifest(out, model)
    except DataError:
        return None, ()
    return old, differences(old, inputs, out)


def _current(
    out: Path, old: AnyManifest | None, found: Sequence[Difference], *, again: bool, replace: bool
) -> StepResult[AnyManifest] | None:
    if old is None:
        return None
    if not found:
        clear_left_over(out)
        return None if again else StepResult(out, old, was_current=True)
    protected = _PROTECTED.get(old.kind, _PROTECTED_ANYWHERE)
    lost = [one for one in found if one.part in protected]
    if lost and not replace:
        raise DataError(_finished_work(out, old, lost))
    say(f"{out} is not current: {_listed(found)}.")
    return None


def _stamper(folder: Path) -> Callable[[], tuple[FileStamp, ...]]:
    """Gives the stamps of a folder's files; each is read once, and again only when it was written since."""
    stamped = cache(lambda path, _changed, _bytes: stamp(path, folder))

    def stamps() -> tuple[FileStamp, ...]:
        states = ((path, path.stat()) for path in files_of(folder))
        return tuple(stamped(path, state.st_mtime_ns, state.st_size) for path, state in states)

    return stamps


def _stated(output: Output, inputs: Inputs) -> dict[str, Any]:
    """The fields of a manifest but for what is rendered from it, and its outputs."""
    return {
        "created_by": package_versions(*inputs.packages),
        "recipe": inputs.recipe,
        "inputs": output.files,
        "folders": dict(inputs.folders),
        "resources": _digests(recorded()),
        "settings": dict(inputs.settings),
        "content_sha256": output.content_sha256,
        **output.fields,
    }


def _digests(resources: Mapping[str, Path]) -> dict[str, str]:
    return {name: resource_sha256(path) for name, path in sorted(resources.items())}


def main_recipe(
    name: StrPath, kind: RecipeKind, model: type[Model], overrides: Sequence[str] = ()
) -> Loaded[Model]:
    """The recipe of a step, which is compared as it was resolved: its file is no resource."""
    with recording(on=False):
        return load_recipe(os.fspath(name), kind, model, overrides)


def differences(old: Manifest, inputs: Inputs, out: Path) -> tuple[Difference, ...]:
    """What of the inputs that a folder was made from is not as it is now; nothing where it is current."""
    found = [
        *_recipe_differences(old.recipe, inputs.recipe),
        *_value_differences("settings", old.settings, inputs.settings),
        *_folder_differences(old.folders, inputs.folders),
        *_resource_differences("resources", old.resources),
        *_resource_differences("rendering", old.rendered_with),
        *_value_differences("versions", old.created_by, package_versions(*inputs.packages)),
        *_file_differences(old.inputs, inputs),
    ]
    # The files of the folder are read last, and only where nothing else differs: they may be large.
    if not found:
        found = [Difference("outputs", f"{one.where} {one.what}") for one in file_problems(out, old)]
    return tuple(found)


def folder_name(name: str, overrides: Sequence[str] = ()) -> str:
    """The default name of an output: of the recipe, and of the settings that were changed for it.

    >>> folder_name("tiny", ["trainer.max_steps=5"])
    'tiny-trainer.max_steps=5'
    """
    full = "-".join([name, *(re.sub(r"[^\w.=+-]+", "-", one) for one in sorted(overrides))])
    if len(full) <= MAX_NAME:
        return full
    return f"{full[: MAX_NAME - 9]}-{sha256_of_text(full)[:8]}"


def _listed(found: Sequence[Difference]) -> str:
    more = [f"and {len(found) - MAX_SHOWN:,} more"] if len(found) > MAX_SHOWN else []
    return "; ".join([*(one.text for one in found[:MAX_SHOWN]), *more])


def _finished_work(out: Path, old: Manifest, found: Sequence[Difference]) -> Problem:
    return Problem(
        str(out),
        f"holds finished work that would be lost ({old.work}), and it was made otherwise: {_listed(found)}",
        fix="name another folder with --out, or add --replace",
        code="step.finished_work",
    )


def _recipe_differences(old: RecipeStamp, new: RecipeStamp) -> Iterator[Difference]:
    if old.name != new.name:
        yield Difference("request", f"recipe: {old.name} -> {new.name}")
    if old.sha256 != new.sha256:
        before, now = leaves(old.resolved), leaves(new.resolved)
        for key in NAMED_BY:
            # Its path depends on the current directory; its content is compared as a resource or a folder.
            if _is_same_file_name(before.get(key), now.get(key)):
                del before[key], now[key]
        for one in _value_differences("recipe", before, now):
            yield replace(one, text=f"recipe {one.text}")


def _is_same_file_name(old: JsonValue, new: JsonValue) -> bool:
    paths = [Path(one) for one in (old, new) if isinstance(one, str) and is_path(one)]
    return len(paths) == 2 and paths[0].name == paths[1].name


def _value_differences(part: Part, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(part, _change(name, old.get(name), new.get(name)))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _change(name: str, old: Any, new: Any) -> str:
    if _HASH.fullmatch(str(old)) or _HASH.fullmatch(str(new)):
        return f"{name} changed"
    return f"{name}: {_shown(old)} -> {_shown(new)}"


def _shown(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _folder_differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        before, now = old.get(name, "none"), new.get(name, "none")
        if before != now:
            yield Difference("folders", f"another {name} ({before[:12]} -> {now[:12]})")


def _resource_differences(part: Part, old: Mapping[str, str]) -> Iterator[Difference]:
    known = recorded()
    for name, digest in old.items():
        path = known.get(name) or resource_at(name)
        if not path.is_file():
            yield Difference(part, f"{name} not found")
        elif resource_sha256(path) != digest:
            yield Difference(part, f"{name} changed")


def _file_differences(old: Sequence[FileStamp], inputs: Inputs) -> Iterator[Difference]:
    if inputs.sources is None and not inputs.own_sources:
        return
    for file in old:
        name, _, below = file.path.partition("/")
        own = inputs.own_sources.get(name)
        path = own / below if own else (inputs.sources or Path()) / file.path
        if not path.is_file():
            yield Difference("files", f"{file.path} not found")
        elif path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
            yield Difference("files", f"{file.path} changed")
