"""The cells of benchmarks/neighbours.py, one file an artefact; `cells` says what a cell is."""
