"""Measured patterns in, model inputs out: `SimXRDFeatureExtractor` puts any axis on the model's grid."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import BatchFeature, FeatureExtractionMixin

from .conversion_simxrd import Converter
from .resampling_simxrd import DEFAULT_GRID


class SimXRDFeatureExtractor(FeatureExtractionMixin):
    """Puts patterns on the grid of a model, scales them to maximum 100 and masks what was not measured.

    Args:
        grid: Target grid: `two_theta_min`, `two_theta_max`, `step` (degrees), `wavelength` (Å). Missing keys take the
            values of the SimXRD grid (10 … 80° in steps of 0.02° at 1.54184 Å: 3501 points).
        negative: "error" refuses negative intensities, "clip" sets them to 0.
        max_gap: Intervals between points wider than this (degrees 2θ) count as not measured.
        min_overlap: Least range a pattern must share with the grid (degrees 2θ).

    Example:
        >>> extractor = SimXRDFeatureExtractor()
        >>> inputs = extractor(counts, two_theta=angles, wavelength=1.5406, return_tensors="pt")
        >>> inputs["intensity"].shape, inputs["mask"].dtype
        (torch.Size([1, 3501]), torch.bool)
    """

    model_input_names = ["intensity", "mask"]  # noqa: RUF012 - the name and type transformers expects
    _auto_class = "AutoFeatureExtractor"  # saving it saves its code

    def __init__(
        self,
        grid: Mapping[str, float] | None = None,
        negative: str = "error",
        max_gap: float = 0.5,
        min_overlap: float = 5.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.grid = {**DEFAULT_GRID, **(grid or {})}
        self.negative = negative
        self.max_gap = max_gap
        self.min_overlap = min_overlap
        self.converter()  # checks the settings

    def converter(self) -> Converter:
        """The conversion by itself, without transformers' containers."""
        return Converter(self.grid, self.negative, self.max_gap, self.min_overlap)

    def __call__(
        self,
        intensity: Any,
        two_theta: Any = None,
        d: Any = None,
        q: Any = None,
        wavelength: float | Sequence[float] | None = None,
        *,
        negative: str | None = None,
        return_tensors: str | None = None,
        return_info: bool = False,
    ) -> BatchFeature:
        """Convert one pattern or a batch.

        Args:
            intensity: One pattern (n,), several on one axis (batch, n), or a sequence of patterns of any lengths.
            two_theta: Positions in degrees: one axis for all, or a sequence of one axis per pattern.
            d: Lattice spacings in Å instead.
            q: Momentum transfer 4π sin θ / λ in Å⁻¹ instead. Without any axis a pattern must lie on the grid.
            wavelength: Å, of a 2θ axis, which means nothing without; one for all or one per pattern.
            negative: Overrides the extractor's setting for this call.
            return_tensors: None or "np" for numpy, "pt" for torch.
            return_info: Also return "info": per pattern the axis, its range, the wavelength and the covered part.

        Returns:
            "intensity" (batch, n_points) float32 and "mask" (batch, n_points) bool.

        Raises:
            ValueError: Anything that makes a pattern unusable; the message says what was expected and what came, and
                for a batch which pattern it was.
        """
        if return_tensors not in (None, "np", "pt"):
            raise ValueError(f'return_tensors must be None, "np" or "pt", got {return_tensors!r}')
        values, mask, info = self.converter()(intensity, two_theta, d, q, wavelength, negative)
        data: dict[str, Any] = {"intensity": values, "mask": mask}
        if return_tensors == "pt":
            import torch

            data = {name: torch.from_numpy(array) for name, array in data.items()}
        if return_info:
            data["info"] = info
        return BatchFeature(data)
