"""One test for each fault of the matrix in `docs/reliability.md`, and for each rule of cancelling."""
