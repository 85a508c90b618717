"""Report: one page that shows where the time of a run went.

`analysis.py`, `path.py`, `stalls.py` and `hints.py` find out what there is to say, from a recording and
nothing else; `payload.py` is what the page draws its timeline from, and `page.py` writes it.
"""
