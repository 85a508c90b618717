"""First steps: calls and operators build a graph, and `await` runs it."""

from __future__ import annotations

from asyncgraph import delayed, run


@delayed
def inc(number: int) -> int:
    return number + 1


@delayed
def add(one: int, other: int) -> int:
    return one + other


async def main() -> None:
    total = add(inc(1), inc(2))
    average = total / 2
    print(average)

    print("\nNothing has run yet; this is what it would take:")
    for key, task in dict(average.graph).items():
        print(f"  {key!r}: {task}")

    print("\nNow it runs, the two inc at once:")
    print(f"  {await average = }")

    print("\nThe graph as a picture, in Mermaid:")
    print(average.visualize(format="mermaid"))


if __name__ == "__main__":
    run(main())
