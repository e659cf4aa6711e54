"""In which order the ubatches of a step run: one after another, side by side, in turns, or as a pipeline.

A schedule knows neither layouts nor policies nor arrays: it is given three functions and calls them.
"""
