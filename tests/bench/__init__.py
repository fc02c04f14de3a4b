"""What is measured and not tested: a timing belongs here. `scripts/bench` runs them, `docs/benchmarks.md` has the numbers."""
