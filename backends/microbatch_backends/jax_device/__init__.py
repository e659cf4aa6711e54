"""The backend for JAX arrays, on any device that JAX has; imports JAX when it is first used."""
