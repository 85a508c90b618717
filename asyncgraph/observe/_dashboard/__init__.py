"""The dashboard: what a runtime is doing, as a page in the browser that changes as it happens.

`state` hears of events and knows what is shown, `timeline` what ran where, `picture` has the graph drawn
and paints it, `selected` is what one looks at, `parts` and `feed` tell browsers what has changed, `guard`
says who may ask, `app` answers requests, and `serving` and `server` are a small server.
"""

from __future__ import annotations

from asyncgraph.observe._dashboard.app import Dashboard, dashboard
from asyncgraph.observe._dashboard.serving import serving

__all__ = ["Dashboard", "dashboard", "serving"]
