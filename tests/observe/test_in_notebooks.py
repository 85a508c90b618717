"""Nodes, graphs and pictures in a notebook, with a real kernel; a program of its own drives that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parent.parent.parent

NOTEBOOK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")  # those of the libraries that drive the kernel
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

folder = os.environ["IPYTHONDIR"] = sys.argv[1]
cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[2])]
notebook = nbformat.v4.new_notebook(cells=cells)
manager = AsyncKernelManager(transport="ipc", ip=f"{folder}/ipc", connection_file=f"{folder}/connection.json")
NotebookClient(notebook, km=manager, timeout=40).execute()
print(json.dumps([[output["data"] for output in cell.outputs] for cell in notebook.cells]))
"""

CELLS = [
    "from asyncgraph import delayed, from_graph\nnode = from_graph({'x': -1, 'y': (abs, 'x')}, 'y')",
    "node",
    "node.graph",
    "node.visualize()",
    "node.visualize(format='html')",
    "node.visualize(format='mermaid')",
    "await node",
]


def test_a_notebook(tmp_path: Path) -> None:
    """A cell that ends with a node, a graph or a picture shows it; one that awaits a node shows its value."""
    command = [sys.executable, "-c", NOTEBOOK, str(tmp_path), json.dumps(CELLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    defined, [node], [graph], [picture], [page], [mermaid], [value] = json.loads(done.stdout.splitlines()[-1])
    assert defined == []
    assert node["text/plain"] == "<Delayed y>"
    assert node["image/svg+xml"].startswith("<svg ")
    assert graph["text/plain"] == "{\n  'x': -1,\n  'y': abs(x),\n}"
    assert graph["image/svg+xml"] == picture["image/svg+xml"] == node["image/svg+xml"]
    assert picture["text/plain"].startswith("<Picture, image/svg+xml, ")
    assert page["text/html"].startswith("<iframe srcdoc=")
    assert mermaid["text/vnd.mermaid"].startswith("flowchart BT")
    assert value == {"text/plain": "1"}
