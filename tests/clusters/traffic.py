"""What the client of a cluster is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Client


class Traffic:
    """What a client was asked for."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.submitted: list[tuple[str, int, dict[str, Any]]] = []
        self.gathered: list[str] = []
        self.scattered = 0
        submit, gather, scatter = client.submit, client.gather, client.scatter

        def submitting(function: Any, name: str, packed: Any, *futures: Any, **options: Any) -> Any:
            self.submitted.append((name.rpartition("-")[0], len(futures), options))
            return submit(function, name, packed, *futures, **options)

        def gathering(future: Any, **options: Any) -> Any:
            self.gathered.append(future.key.split("-")[0])
            return gather(future, **options)

        def scattering(*data: Any, **options: Any) -> Any:
            self.scattered += 1
            return scatter(*data, **options)

        monkeypatch.setattr(client, "submit", submitting)
        monkeypatch.setattr(client, "gather", gathering)
        monkeypatch.setattr(client, "scatter", scattering)
