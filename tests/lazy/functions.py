"""Functions that tests import by name: another process finds them here."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from asyncgraph import delayed


@delayed(executor="loop")
def inc(x):
    """Add one."""
    return x + 1


@delayed(executor="loop")
def add(a, b=10):
    """Add two."""
    return a + b


def plain(x):
    """Double, not delayed."""
    return 2 * x


@delayed
async def fetch(x):
    """Return it, from the loop."""
    return x


renamed = delayed(plain, name="renamed", executor="loop")


def passing(function):
    """Decorate a function with one that does nothing else."""

    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@delayed(executor="loop")
@passing
def decorated(x):
    """Negate, behind another decorator."""
    return -x


@dataclass
class Account:
    """Has delayed methods of every kind."""

    balance: Any = 0

    @delayed(executor="loop")
    def plus(self, amount):
        """Return what there would be."""
        return self.balance + amount

    @delayed
    async def fetched(self):
        """Return what there is, from the loop."""
        return self.balance

    @classmethod
    @delayed(executor="loop")
    def opened(cls, balance):
        """Return a new account."""
        return cls(balance)

    @staticmethod
    @delayed(executor="loop")
    def fee(amount):
        """Return the fee."""
        return amount // 10

    def doubled(self):
        """Return twice the balance; not delayed."""
        return 2 * self.balance

    async def awaited(self, extra=0):
        """Return the balance and some; not delayed."""
        return self.balance + extra


class Scaler:
    """Its instances are functions; the `options` of one is its own business."""

    options = "not those of asyncgraph"

    def __init__(self, factor):
        self.factor = factor
        self.function = None

    def __call__(self, x):
        """Scale."""
        return self.factor * x


class AsyncScaler(Scaler):
    async def __call__(self, x):
        """Scale, on the loop."""
        return self.factor * x
