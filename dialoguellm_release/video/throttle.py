"""How many requests are open at once, and when the next may go: as many as the server will bear."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLOWER = 0.8
FIRST_WAIT_S = 0.5
LONGEST_BACKOFF_S = 30.0
LOOK_AGAIN_S = 0.5


class Throttle:
    """Slots for requests: one more for every round of answers, a fifth fewer when the server says 429.

    Why a fifth, and once a round: a server that turns away one request in ten at random is not too slow for
    the other nine; one that counts by the minute says how long to wait, which everybody then does.

    Attributes:
        limit: How many slots there are now, between 1 and `most`.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self._open = 0
        self._answers = 0
        self._calm_at = 0
        self._sent = 0
        self._resume_at = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """A slot, as soon as there is one and no pause is on; yields the number of the request."""
        loop = asyncio.get_running_loop()
        async with self._changed:
            await self._changed.wait_for(lambda: self._open < max(1, int(self.limit)))
            self._open += 1
        try:
            while (pause_s := self._resume_at - loop.time()) > 0:
                await asyncio.sleep(min(pause_s * (1 + 0.1 * random.random()), LOOK_AGAIN_S))
            self._sent += 1
            yield self._sent
        finally:
            async with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """An answer came: after a round of them there is a slot more."""
        self.limit = min(self.most, self.limit + 1 / self.limit)

    def turned_away(self, number: int, wait_s: float | None) -> None:
        """The server asks for patience: fewer slots, unless this request went before they last became fewer.

        Args:
            wait_s: How long it asks everybody to wait; None where it does not say.
        """
        if number > self._calm_at:
            self.limit = max(1.0, self.limit * SLOWER)
            self._calm_at = self._sent
        if wait_s is not None:
            self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + wait_s)

    def let_go(self) -> None:
        """Ends a pause: nobody will send anything any more."""
        self._resume_at = 0.0


def backoff_s(attempt: int) -> float:
    """How long to wait after so many attempts, drawn evenly from a range that doubles."""
    return random.uniform(0, min(LONGEST_BACKOFF_S, FIRST_WAIT_S * 2**attempt))
