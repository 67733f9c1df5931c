"""One module for each `simxrd` command, with `SUMMARY`, `EXAMPLE`, `add_arguments(parser)` and `run(args) -> int`."""
