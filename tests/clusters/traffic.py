"""What the client of a cluster is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Client


class Traffic:
    """What a client was asked for."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.submitted: list[tuple[str, int, dict[str, Any]]] = []
        # The names in each graph; and of all their tasks, by the keys of nodes, what they are annotated with.
        self.graphs: list[list[str]] = []
        self.annotations: dict[str, Any] = {}
        self.gathered: list[str] = []
        self.scattered = 0
        submit, get, gather, scatter = client.submit, client.get, client.gather, client.scatter

        def submitting(function: Any, name: str, packed: Any, *futures: Any, **options: Any) -> Any:
            self.submitted.append((name.rpartition("-")[0], len(futures), options))
            return submit(function, name, packed, *futures, **options)

        def getting(graph: Any, keys: list[str], **options: Any) -> Any:
            self.graphs.append([key.split("-")[0] for key in keys])
            for layer in graph.layers.values():
                names = ["-".join(key.split("-")[:2]) for key in layer]
                self.annotations |= dict.fromkeys(names, layer.annotations)
            return get(graph, keys, **options)

        def gathering(future: Any, **options: Any) -> Any:
            self.gathered.append(future.key.split("-")[0])
            return gather(future, **options)

        def scattering(*data: Any, **options: Any) -> Any:
            self.scattered += 1
            return scatter(*data, **options)

        monkeypatch.setattr(client, "submit", submitting)
        monkeypatch.setattr(client, "get", getting)
        monkeypatch.setattr(client, "gather", gathering)
        monkeypatch.setattr(client, "scatter", scattering)
