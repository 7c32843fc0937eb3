"""How many requests are open at once, and when the next one may be sent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLOWER = 0.8
LOOK_AGAIN_S = 0.5


class Throttle:
    """Slots for requests: one more after each round of answers, a fifth fewer after a 429.

    Why a fifth, and once a round: a server that rejects one request in ten at random can serve the other
    nine; one that counts requests per minute says how long to wait, and then every request waits.

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
        """A slot, once one is free and no pause is running; yields the number of the request."""
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
        """An answer came: after a round of them there is one slot more."""
        self.limit = min(self.most, self.limit + 1 / self.limit)

    def rejected(self, number: int, wait_s: float | None) -> None:
        """The server is busy: fewer slots, unless this request was sent before they last became fewer.

        Args:
            wait_s: How long the server asks to wait; None where it does not say.
        """
        if number > self._calm_at:
            self.limit = max(1.0, self.limit * SLOWER)
            self._calm_at = self._sent
        if wait_s is not None:
            self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + wait_s)

    def end_pause(self) -> None:
        """Ends a pause: no further request will be sent."""
        self._resume_at = 0.0
