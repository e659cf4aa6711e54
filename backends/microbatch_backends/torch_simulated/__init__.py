"""A device for torch code on a machine without one; see `microbatch.testing.torch_device`.

Here live tensors whose operations are queued (`tensor`, `operations`), their memory (`place`, `memory`), how
they come and go (`transfers`, `factories`, `pinned`), a stand-in for `torch.cuda` (`cuda`, `cuda_memory`,
`cuda_random`, `cuda_streams`, `cuda_graphs`), and the block in which all of it is there (`device`,
`replaced`). Streams, captures, the allocator and the checker are those of `microbatch.testing.simulated`.
"""
