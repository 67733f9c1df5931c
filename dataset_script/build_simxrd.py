"""The builder of the SimXRD datasets, which a dataset folder holds a copy of; its code is in the package."""

from simxrd_hf.data.repository.build_simxrd import SimXRD, SimXRDConfig

__all__ = ["SimXRD", "SimXRDConfig"]
