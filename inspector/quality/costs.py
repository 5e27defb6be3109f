"""What wrong verdicts cost: what reviews found, and what that says of parts that nobody reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.quality.rates import Rate, rate


@dataclass(frozen=True, slots=True)
class Prices:
    """What one wrong verdict costs the plant, in its own currency."""

    false_reject: float
    escape: float
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Wrong verdicts of one kind: of `parts` with that verdict people reviewed some, and `seen` says how many were wrong.

    `low` and `high` bound how many of all parts are wrong, with 95 % confidence, if those reviewed are like the others.
    """

    parts: int
    seen: Rate
    price: float

    @property
    def expected(self) -> float:
        """How many of all parts are wrong, if those reviewed are like the others; what is known counts as known."""
        return self._all(self.seen.value) if self.seen.total else 0.0

    @property
    def low(self) -> float:
        return self._all(self.seen.low)

    @property
    def high(self) -> float:
        return self._all(self.seen.high)

    @property
    def seen_cost(self) -> float:
        return self.seen.count * self.price

    def cost(self, wrong: float) -> float:
        """What so many cost."""
        return wrong * self.price

    def _all(self, share: float) -> float:
        return self.seen.count + (self.parts - self.seen.total) * share


def wrong_verdicts(parts: int, reviewed: int, wrong: int, price: float) -> Wrong:
    """`wrong` of `reviewed` of `parts`. Raises ValueError for counts or a price that cannot be."""
    if not 0 <= reviewed <= parts:
        raise ValueError(f"got {reviewed} reviewed of {parts} parts, expected no more than there are")
    if price < 0:
        raise ValueError(f"got a price of {price}, expected 0 or more")
    return Wrong(parts, rate(wrong, reviewed), price)
