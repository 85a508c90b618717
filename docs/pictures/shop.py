"""The graph of the picture in the README."""

from __future__ import annotations

from asyncgraph import delayed


@delayed
async def fetch(url: str) -> str:
    return f"<p>{url}</p>"


@delayed(executor="process")
def parse(html: str) -> list[str]:
    return html.split("/")


@delayed
def merge(pages: list[list[str]]) -> list[str]:
    return [word for page in pages for word in page]


@delayed
def save(words: list[str], prices: list[str]) -> int:
    return len(words) + len(prices)


pages = [parse(fetch(url)) for url in ("/tea", "/cake", "/scones")]
shop = save(merge(pages), prices=parse(fetch("/prices")))
