"""The `cupy` backend; nothing here imports CuPy before the backend is made."""
