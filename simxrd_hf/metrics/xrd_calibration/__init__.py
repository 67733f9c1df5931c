"""The `evaluate` module `xrd_calibration`; this folder is also the Space it is published as."""
