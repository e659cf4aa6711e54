"""A device for CuPy code on a machine without one; see `microbatch.testing.cupy_device`.

Here live arrays whose operations are queued (`array`), CuPy's functions on NumPy's (`functions`), pools of
device memory and of pinned memory (`memory`, `pinned`), a stand-in for `cupy.cuda` (`cuda`, `streams`), and
the block in which all of it is there (`device`). Queues, streams, captures, the allocator and the checker are
those of `microbatch.testing.simulated`, as for the stand-in of torch.
"""
