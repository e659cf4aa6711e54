"""The parts of `BackendSuite`, one file a subject."""
