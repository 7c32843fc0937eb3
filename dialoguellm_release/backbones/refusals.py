"""Why the Hub did not give a model or an adapter, and what to do."""

from __future__ import annotations

from dialoguellm_release.errors import Problem


def place_at(repo_id: str, revision: str | None) -> str:
    """A repository on the Hub, with its revision where there is one, as an error names it."""
    return f"{repo_id} at {revision}" if revision else repo_id


def refused_by_hub(repo_id: str, revision: str | None, error: BaseException | None) -> Problem | None:
    """Why the Hub did not give a model, and what to do; None where it was something else."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    at = place_at(repo_id, revision)
    match error:
        case GatedRepoError():
            fix = f"accept its terms at https://huggingface.co/{repo_id}, then: hf auth login"
            return Problem(at, "the Hub gives this model only to those who accepted its terms", fix=fix)
        case RepositoryNotFoundError():
            fix = "check the recipe; if the model is private: hf auth login"
            return Problem(at, "the Hub has no such model, or does not show it to you", fix=fix)
        case LocalEntryNotFoundError():
            fix = "go online (and unset HF_HUB_OFFLINE), or put the model into the cache with: hf download"
            return Problem(at, "neither in the local cache nor within reach on the Hub", fix=fix)
    return None
