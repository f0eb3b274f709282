"""What a benchmark has to reach, mostly as ratios of the same run, and whether it did."""

from typing import NamedTuple


class Goal(NamedTuple):
    what: str
    value: float
    limit: float
    at_least: bool  # the value must not be below the limit; else not above it
    unit: str = "x"

    @property
    def met(self):
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def verdict(self):
        if self.met:
            return "met"
        if not self.value or not self.limit:
            return "missed"
        by = self.limit / self.value if self.at_least else self.value / self.limit
        return f"missed by {by:.2f}x"

    def line(self):
        sign = ">=" if self.at_least else "<="
        return (f"{self.what:<66} {number(self.value):>9} {self.unit:<6} "
                f"{sign} {number(self.limit):>6}  {self.verdict}")

    def row(self, bench):
        return {"bench": bench, "case": f"goal: {self.what}", "unit": self.unit,
                "value": self.value, "limit": self.limit, "at_least": self.at_least,
                "met": self.met}


def number(value):
    if value == 0:
        return "0"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def at_most(what, value, limit, unit="x"):
    return Goal(what, value, limit, False, unit)


def at_least(what, value, limit, unit="x"):
    return Goal(what, value, limit, True, unit)
