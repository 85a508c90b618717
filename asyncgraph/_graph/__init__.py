"""The pure part: nodes, graphs, plans and the scheduler. No asyncio, threads, clock or I/O."""
