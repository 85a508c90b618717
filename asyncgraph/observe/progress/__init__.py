"""A progress bar for runs: in a terminal, in plain lines, in a notebook.

`bar` hears of runs, `painter` has the thread that asks them how far they are, `watch` and `pace` make of that
what is shown, a `View`, and the others show it: `terminal`, `lines`, `notebook`, `with_rich`.
"""

from __future__ import annotations

from asyncgraph.observe.progress.bar import ProgressBar

__all__ = ["ProgressBar"]
