"""The pictures of the documents; `python -m benchmarks.pictures` makes them anew."""
