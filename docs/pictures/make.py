"""Draws the pictures of the documents: `python docs/pictures/make.py`, or into a folder that is named."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def draw(folder: Path) -> None:
    """Draw the graph of each file here that has one, under its name."""
    source = HERE / "shop.py"
    names: dict[str, object] = {}
    # By its bare name, which is what the tooltips of the shapes show.
    exec(compile(source.read_text("utf-8"), source.name, "exec"), names)
    names["shop"].visualize(folder / "shop.svg")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
