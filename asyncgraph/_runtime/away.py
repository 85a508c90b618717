"""What a worker of a cluster calls for a node: it finds that by its name, so asyncgraph is there, too."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from asyncgraph._graph.node import Node
from asyncgraph.executors.packing import Packed
from asyncgraph.executors.travel import Held, perform_away

__all__ = ["call_away"]

# A node is computed in place of its call; of the others nobody else could make anything.
_UNKEPT = (Node, CoroutineType, GeneratorType, AsyncGeneratorType)


def call_away(key: str, packed: Packed, *held: Held) -> Held:
    """Make the call of a node: see `perform_away`."""
    return perform_away(key, packed, held, _UNKEPT)
