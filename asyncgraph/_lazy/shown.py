"""The graph behind a node as users hold it: one that notebooks show as a picture."""

from __future__ import annotations

from typing import Any

from asyncgraph._graph.graph import Graph

__all__ = ["ShownGraph"]


class ShownGraph(Graph):
    """A graph that notebooks show as a picture."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from asyncgraph.observe.drawing.picture import mimebundle_of

        return mimebundle_of(self, repr(self))
