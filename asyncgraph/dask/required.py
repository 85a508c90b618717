"""What is said where Dask is not installed."""

from __future__ import annotations

__all__ = ["require_dask"]


def require_dask() -> None:
    """Import what this package needs of Dask.

    Raises:
        ImportError: It is not there, or too old; the message says what to install.
    """
    try:
        import dask._expr
        import dask._task_spec  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "asyncgraph.dask needs Dask of 2026.8 or later: pip install 'asyncgraph[dask]'"
        ) from error
