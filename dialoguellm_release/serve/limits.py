"""What requests cost by the tokens that were counted or expected, and when a run has to stop."""

from __future__ import annotations

from dataclasses import dataclass

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.recipes.video import Prices

MILLION = 1_000_000


def usd(prices: Prices, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost."""
    full = input_tokens * prices.input_usd_per_million + output_tokens * prices.output_usd_per_million
    return full / MILLION


@dataclass
class Budget:
    """How many questions a run may still ask, and how much all answers may cost.

    Args:
        limit: Questions of this run; None for no limit.
        max_cost_usd: Of everything in the store; None for no limit.
        estimate_usd: Expected of a request, at least the highest cost so far; None without prices.
        known_usd: What the answers in the store cost.
        reserved: Requests that are open or whose fate is unknown: each counts as expected.
    """

    limit: int | None = None
    max_cost_usd: float | None = None
    estimate_usd: float | None = None
    known_usd: float = 0.0
    reserved: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        if self.max_cost_usd is not None and self.estimate_usd is None:
            problem = Problem(
                "--max-cost",
                "the recipe has no prices",
                fix="add prices, or use --limit",
                code="serve.no_prices",
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
        """A request will be sent."""
        self.reserved += 1

    def settle(self, cost: float | None) -> None:
        """A request was answered at a known cost; None keeps it reserved at the expected cost."""
        if cost is None:
            return
        self.reserved -= 1
        self.known_usd += cost
        if self.estimate_usd is not None:
            self.estimate_usd = max(self.estimate_usd, cost)
