"""`python -m simxrd_hf` is the `simxrd` command."""

from simxrd_hf.cli import entry_point

entry_point()
