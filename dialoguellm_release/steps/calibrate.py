"""The calibration of an adapter: a temperature beside its weights."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_calibration, read_manifest, write_text
from dialoguellm_release.schemas.calibration import CALIBRATION, Calibration
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.step import StrPath


def calibrate_adapter(scores: StrPath, adapter: StrPath, *, replace: bool = False) -> Calibration:
    """Fits the temperature of an adapter and writes it into its folder, as `calibration.json`.

    Neither the content hash of the adapter nor any step changes by it. The scores of the adapter are made
    again with it, from the kept answers, when they are asked for next.

    Args:
        scores: Score folder of this adapter on a validation split.
        adapter: Folder that `train_adapter` made.
        replace: Replace another calibration.

    Returns:
        The temperature, what it was fitted on, and the errors of the probabilities before and after.

    Raises:
        DataError: The score is of another split or adapter, its records do not determine a temperature, or
            the adapter has another calibration.

    Example:
        >>> calibrate_adapter("build/scores/meld-validation", "build/adapters/my")  # doctest: +SKIP
        Calibration(version=1, temperature=1.43, ...)
    """
    from dialoguellm_release.scoring.calibrate import fit_calibration

    folder = Path(adapter)
    fitted = fit_calibration(Path(scores), folder)
    before = None if replace else read_calibration(folder, read_manifest(folder, AdapterManifest))
    if before is not None and before != fitted:
        path = str(folder / CALIBRATION)
        got = f"temperature {before.temperature:.4f}, fitted on {before.corpus}; now {fitted.temperature:.4f}"
        what, fix = "the adapter has another calibration", "keep it, or replace it with --replace"
        raise DataError(Problem(path, what, got=got, fix=fix, code="calibration.finished"))
    write_text(folder / CALIBRATION, fitted.model_dump_json(indent=2) + "\n")
    return fitted
