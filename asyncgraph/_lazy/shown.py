"""What is seen of a node: its graph, and pictures of that, in files and in notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from asyncgraph._graph.graph import Graph
from asyncgraph._graph.node import Node

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from asyncgraph.observe.drawing.model import Color, HasMarks, Marks
    from asyncgraph.observe.drawing.picture import Format, ImageFormat, Picture, TextFormat

__all__ = ["Shown", "ShownGraph"]

T_co = TypeVar("T_co", covariant=True)


class ShownGraph(Graph):
    """A graph that notebooks show as a picture."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from asyncgraph.observe.drawing.picture import mimebundle_of

        return mimebundle_of(self, repr(self))


class Shown(Node[T_co]):
    """A node whose graph can be looked at."""

    __slots__ = ()

    @property
    def graph(self) -> Graph:
        """The prescription behind this node: a read-only mapping of keys to tasks."""
        return ShownGraph([self])

    @overload
    def visualize(
        self,
        filename: str | os.PathLike[str],
        *,
        format: Format | None = None,
        color: Color = "executor",
        collapse: bool = True,
        run: HasMarks | Marks | None = None,
    ) -> Path: ...
    @overload
    def visualize(
        self,
        filename: None = None,
        *,
        format: ImageFormat,
        color: Color = "executor",
        collapse: bool = True,
        run: HasMarks | Marks | None = None,
    ) -> bytes: ...
    @overload
    def visualize(
        self,
        filename: None = None,
        *,
        format: TextFormat | None = None,
        color: Color = "executor",
        collapse: bool = True,
        run: HasMarks | Marks | None = None,
    ) -> Picture: ...
    def visualize(
        self,
        filename: str | os.PathLike[str] | None = None,
        *,
        format: Format | None = None,
        color: Color = "executor",
        collapse: bool = True,
        run: HasMarks | Marks | None = None,
    ) -> Path | bytes | Picture:
        """A picture of the graph behind this node: dependencies at the bottom, this node at the top.

        Functions are round, data is square and shows its value, a choice has six sides, a resource is a
        cylinder. Edges are labelled with the arguments' names where a function takes several nodes.

        Args:
            filename: The file to write, replacing what is there; by default the picture is returned.
            format: "svg", "html" (a page that can be moved, zoomed and searched), "dot", "mermaid" or "json";
                or "png" or "pdf", which are drawn by Graphviz. By default what the name of the file ends in,
                or "svg".
            color: What colors say: "executor"; or, of a run, "state", "duration" or "order".
            collapse: Whether nodes that are alike are drawn as one where there are more than some 150.
            run: A `Recording` of a run of this graph, or a mapping of keys to `Mark`s.

        Returns:
            The path of the file; without one, a `Picture`, which is the text and which notebooks show, or for
            "png" and "pdf" bytes.

        Raises:
            ValueError: There is no such format or color, the file's name says no format, or the color needs a
                run.
            TypeError: An option is of the wrong type.
            FileNotFoundError: The format needs Graphviz, and its program `dot` is not on the path.
            OSError: The file cannot be written.

        Nothing is run. Large graphs, of which a hundred thousand nodes take a second, are better drawn in a
        thread.

        Example:
            >>> from asyncgraph import delayed
            >>> total = delayed(sum)([delayed(abs)(-1), delayed(abs)(-2)])
            >>> total.visualize()
            <Picture, image/svg+xml, ... characters>
            >>> print(total.visualize(format="mermaid"))
            flowchart BT
                n0("abs-1")
                n1("abs-2")
                n2("sum-1")
                n0 --> n2
                n1 --> n2
        """
        from asyncgraph.observe.drawing.picture import picture_of

        return picture_of(self.graph, filename, format=format, color=color, collapse=collapse, run=run)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: the picture of the graph."""
        from asyncgraph.observe.drawing.picture import mimebundle_of

        return mimebundle_of(self.graph, repr(self))
