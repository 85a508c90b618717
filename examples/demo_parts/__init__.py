"""What the demo needs beside its graph: a server, the survey of a module, a heartbeat and a report."""

from __future__ import annotations
