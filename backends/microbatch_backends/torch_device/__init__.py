"""The backends of torch (`torch-cpu`, `torch-cuda`, `torch-xpu`); nowhere else is torch imported."""
