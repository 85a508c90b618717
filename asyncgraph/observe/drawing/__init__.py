"""Drawings of graphs, in our own layout: dependencies at the bottom, what was asked for at the top.

Boxes come first: `boxes_of_graph(graph)`, which shows values, or `boxes_of_nodes(infos)`, made from what
events tell, which shows none. From boxes a `Drawing` is made, which lays them out once and can be painted as
often as wanted::

    drawing = Drawing(boxes_of_nodes(infos))
    drawing.svg(color="state", paint={"fetch-1": Mark("running", 0.2)})  # the text of an <svg> element
    drawing.html(color="duration", paint=marks, title="a run")  # the text of a whole page
    drawing.shapes  # what is drawn; each has its `id` in the SVG, and the numbers of its boxes as `members`

`paint` maps keys or numbers of boxes to `Mark`s; a box without one is waiting. `color` is "executor",
"state", "duration" or "order". Where there are more than some 150 boxes, similar ones are drawn as one shape,
unless `collapse=False` is given. `svg_of` and `html_of` do both in one step.
"""

from __future__ import annotations

from asyncgraph.observe.drawing.drawing import Drawing, html_of, svg_of
from asyncgraph.observe.drawing.model import Box, Color, Mark, Marks, boxes_of_graph, boxes_of_nodes, marks_of

__all__ = [
    "Box",
    "Color",
    "Drawing",
    "Mark",
    "Marks",
    "boxes_of_graph",
    "boxes_of_nodes",
    "html_of",
    "marks_of",
    "svg_of",
]
