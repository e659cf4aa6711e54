"""The backends `torch-cpu` and `torch-cuda`: one implementation on torch's device modules."""
