"""The declared version of the physics: what a preset, a seed and a crystal become is fixed within one version."""

PHYSICS_VERSION = 2
"""Raise it when any row of any preset changes.

Datasets and training runs carry it in their digests, so rows of two versions are never taken for one another;
`tests/diffraction/golden_rows.npz` holds rows of this one, and a test fails where others come out.

1: until b855a77. 2: lines on grids of several steps, their tails through coarse grids, one normal number for each line,
counts by the expansion of the Poisson quantile from a mean of 4 on, kinds of atoms told apart exactly.
"""
