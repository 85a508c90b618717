"""Where one call runs: on the event loop, in a thread, or in a worker process."""
