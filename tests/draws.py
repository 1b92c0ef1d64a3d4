"""Where random test cases come from: Hypothesis, which shrinks what fails, or a seed, which is
many times as fast.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

Item = TypeVar("Item")
_NEAR = 3
"""How far from an end, or from zero, an integer is that is drawn to be near it."""


class Draw(Protocol):
    """Draws what a random test case is made of."""

    def integer(self, lowest: int, highest: int) -> int:
        """Returns an integer within bounds."""
        ...

    def either(self, *ranges: tuple[int, int]) -> int:
        """Returns an integer of one of several ranges."""
        ...

    def flag(self) -> bool:
        """Returns True or False."""
        ...

    def pick(self, items: Iterable[Item]) -> Item:
        """Returns one of the items."""
        ...

    def order(self, items: Sequence[Item]) -> list[Item]:
        """Returns all items in any order."""
        ...


class Shrinking:
    """Draws by Hypothesis.

    :param draw: what a composite strategy is handed.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, lowest: int, highest: int) -> int:
        return self._draw(st.integers(lowest, highest))

    def either(self, *ranges: tuple[int, int]) -> int:
        return self._draw(st.one_of(*(st.just(low) if low == high else st.integers(low, high) for low, high in ranges)))

    def flag(self) -> bool:
        return self._draw(st.booleans())

    def pick(self, items: Iterable[Item]) -> Item:
        return self._draw(st.sampled_from(items))  # type: ignore[arg-type]

    def order(self, items: Sequence[Item]) -> list[Item]:
        return list(self._draw(st.permutations(items)))


class Seeded:
    """Draws by a seed; of wide ranges the ends, numbers near zero and small ones come often.

    :param seed: a text: the same one draws the same.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def integer(self, lowest: int, highest: int) -> int:
        chosen = self._random
        if highest - lowest > 64:
            match chosen.randrange(8):
                case 0:
                    near = chosen.choice((lowest, highest, 0)) + chosen.randint(-_NEAR, _NEAR)
                    return min(max(near, lowest), highest)
                case 1 | 2:
                    small = chosen.getrandbits(chosen.randint(1, (highest - lowest).bit_length()))
                    return min(max(small if chosen.getrandbits(1) else -small, lowest), highest)
        return chosen.randint(lowest, highest)

    def either(self, *ranges: tuple[int, int]) -> int:
        return self.integer(*self._random.choice(ranges))

    def flag(self) -> bool:
        return bool(self._random.getrandbits(1))

    def pick(self, items: Iterable[Item]) -> Item:
        return self._random.choice(tuple(items))

    def order(self, items: Sequence[Item]) -> list[Item]:
        return self._random.sample(items, len(items))
