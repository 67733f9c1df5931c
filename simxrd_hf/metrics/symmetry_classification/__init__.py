"""The `evaluate` module `symmetry_classification`; this folder is also the Space it is published as."""
