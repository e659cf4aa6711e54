"""Every figure the README states comes from here: `python -m benchmarks NAME`."""
