"""What requests cost: by the tokens that were counted, else by what the recipe expects; and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.recipes.video import Prices, VideoRecipe
from dialoguellm_release.video.answers import Answer

MILLION = 1_000_000


def estimate_usd(recipe: VideoRecipe, frames: int | None = None, *, batch: bool = False) -> float | None:
    """What a request is expected to cost; None without prices.

    Args:
        frames: How many frames it shows; None for as many as the recipe takes.
    """
    prices = recipe.prices
    if prices is None:
        return None
    shown = recipe.frames.count if frames is None else frames
    return _usd(prices, prices.text_tokens + shown * prices.image_tokens, prices.output_tokens, batch=batch)


def cost_usd(recipe: VideoRecipe, answer: Answer, *, batch: bool = False) -> float | None:
    """What an answer cost; None without prices, or where the server counted no tokens."""
    if recipe.prices is None or answer.input_tokens is None or answer.output_tokens is None:
        return None
    return _usd(recipe.prices, answer.input_tokens, answer.output_tokens, batch=batch)


def _usd(prices: Prices, asked: int, given: int, *, batch: bool) -> float:
    full = asked * prices.input_usd_per_million + given * prices.output_usd_per_million
    return full * (prices.batch_factor if batch else 1.0) / MILLION


@dataclass
class Budget:
    """How many questions this run may still ask, and how much the ledger may come to.

    Args:
        limit: Questions of this run; None for no limit.
        max_cost_usd: Of the whole ledger; None for no limit.
        estimate_usd: Expected of a request, and never less than the dearest one so far; None without prices.
        known_usd: What the answers in the ledger cost.
        reserved: Requests that are open, or of unknown fate: each counts as expected.
    """

    limit: int | None
    max_cost_usd: float | None
    estimate_usd: float | None
    known_usd: float = 0.0
    reserved: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        if self.max_cost_usd is not None and self.estimate_usd is None:
            problem = Problem(
                "--max-cost", "the recipe has no prices to count with", fix="add prices, or use --limit"
            )
            raise DataError(problem)

    def why_not(self) -> str | None:
        """Why no further question may be asked; None where one may."""
        if self.limit is not None and self.asked >= self.limit:
            return f"--limit {self.limit} is reached"
        return self.why_not_again()

    def why_not_again(self) -> str | None:
        """Why no further request may be sent for a question; None where one may."""
        most, estimate = self.max_cost_usd, self.estimate_usd or 0.0
        if most is not None and self.known_usd + (self.reserved + 1) * estimate > most:
            return f"--max-cost {most:g} leaves no room for another request"
        return None

    def reserve(self) -> None:
        """A request will go out."""
        self.reserved += 1

    def settle(self, cost: float | None) -> None:
        """A request came back, for a known price; None leaves it reserved, as what was expected."""
        if cost is None:
            return
        self.reserved -= 1
        self.known_usd += cost
        if self.estimate_usd is not None:
            self.estimate_usd = max(self.estimate_usd, cost)
