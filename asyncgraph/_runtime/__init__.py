"""The asyncio shell: runtimes, and runs that drive the pure scheduler."""
