"""The backend of host memory, and the base that torch on the CPU shares with it: queues, limits, memory, peaks."""
