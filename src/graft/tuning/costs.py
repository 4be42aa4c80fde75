"""What work will cost, predicted from what was measured, and the budget that it must fit into."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

Clock = Callable[[], float]

# A prediction from one measurement is off by so much.
SAFETY = 1.1
# Slower than so many times the middle one is no measurement of the work.
STILL = 2.0
# Of the budget, what may be left or overrun at the end.
TOLERANCE = 0.1


@dataclass
class Costs:
    """Seconds a unit of each kind of work, by measurement: the middle one, or the last if that was
    slower, but not for a single time that the machine stood still.
    """

    rates: dict[str, list[float]] = field(default_factory=dict)

    def measured(self, kind: str, units: float, seconds: float) -> None:
        """So many units of this kind took so many seconds."""
        if units > 0 and seconds > 0:
            self.rates.setdefault(kind, []).append(seconds / units)

    def knows(self, kind: str) -> bool:
        """Whether this kind was ever measured."""
        return kind in self.rates

    def seconds(self, kind: str, units: float, otherwise: float = 0.0) -> float:
        """The seconds that so many units are expected to take; `otherwise` where none was ever
        measured.
        """
        if not units:
            return 0.0
        if kind not in self.rates:
            return otherwise
        found = self.rates[kind]
        middle = median(found)
        return SAFETY * units * max(middle, min(found[-1], STILL * middle))


@dataclass
class Budget:
    """The seconds that a command may take, from `began` on, by default from now; `kept` are for
    what comes after the search, by what it is for. `skipped` says what there was no time for.
    """

    seconds: float
    clock: Clock = time.perf_counter
    began: float | None = None
    kept: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.began is None:
            self.began = self.clock()

    def spent(self) -> float:
        """Seconds since the command began."""
        return self.clock() - (self.began or 0.0)

    def reserved(self) -> float:
        """Seconds that are kept for what comes after the search."""
        return sum(self.kept.values())

    def left(self) -> float:
        """Seconds that the search still has."""
        return self.seconds - self.reserved() - self.spent()

    def keep_for(self, what: str, seconds: float) -> None:
        """Keep so much time for what comes after the search."""
        self.kept[what] = seconds

    def fits(self, seconds: float, what: str, more: float = 0.0) -> bool:
        """Whether work of about `seconds` fits, with the `more` that may follow from it; what does
        not is remembered.
        """
        if seconds + more <= self.left():
            return True
        if what not in self.skipped:
            self.skipped.append(what)
        return False

    def tried_after_all(self, what: str) -> None:
        """What was skipped once has found its time."""
        if what in self.skipped:
            self.skipped.remove(what)
