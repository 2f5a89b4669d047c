"""A faithful Workers AI in the box: for the start without credentials, the tests and the benchmarks."""
