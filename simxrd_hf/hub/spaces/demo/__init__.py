"""The demo Space."""
