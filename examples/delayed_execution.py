"""Ways of writing down work without doing it: strings, closures, partials, generators, and nodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from asyncgraph import delayed, run


def area(width: int, height: int) -> int:
    print(f"  (multiplying {width} by {height})")
    return width * height


def closure(width: int, height: int) -> Callable[[], int]:
    return lambda: area(width, height)


def generator(width: int, height: int) -> Iterator[int]:
    yield area(width, height)


print("A string: the work as text. Nothing checks it, nobody can ask what it needs.")
text = "area(2, 3)"
print(f"  {eval(text)}")

print("A closure: its arguments are hidden inside.")
later = closure(2, 3)
print(f"  {later()}")

print("A partial: its arguments can be seen, but they must be values already.")
bound = functools.partial(area, 2, height=3)
print(f"  {bound.args}, {bound.keywords}: {bound()}")

print("A generator: starts when asked, and can be asked once.")
pending = generator(2, 3)
print(f"  {next(pending)}, then {next(pending, None)}")

print("A node: its arguments may be work that is not done either, and what depends on what is known.")
lazy_area = delayed(area, executor="loop")  # It is tiny, and in two threads at once its prints would mix.
side = lazy_area(2, 3)
volume = lazy_area(side, 10) + lazy_area(side, 100)
for key, task in volume.graph.items():
    print(f"  {key}: {task}")
print(f"  {run(volume)}")
