"""Test-time augmentation: a measured pattern with small errors of alignment and cell added, to be answered together."""

from collections.abc import Sequence

from simxrd_hf.patterns.pattern import Pattern

SHIFTS_DEG = (0.05, -0.05)
SCALES = (0.005, -0.005)


def variants(
    pattern: Pattern, *, shifts: Sequence[float] = SHIFTS_DEG, scales: Sequence[float] = SCALES
) -> list[Pattern]:
    """The pattern itself, shifted, and with all d-spacings scaled.

    A zero shift of ±0.05° is what laboratory instruments are off by, half a per cent the usual distance between a
    measured cell and that of a density-functional calculation. Averaging the answers to all makes them depend less
    on either.

    Args:
        pattern: A pattern with a wavelength.
        shifts: Added to 2θ, degrees.
        scales: Relative changes of all d-spacings.

    Returns:
        1 + len(shifts) + len(scales) patterns, the given one first.

    Raises:
        BadInput: The wavelength is not known.
    """
    wavelength = pattern.require_wavelength()
    made = [pattern]
    made += [pattern.replace(two_theta=pattern.two_theta + shift) for shift in shifts]
    # d = λ / (2 sin θ): a longer wavelength scales every d alike. What names the lines of the tube no longer fits it.
    facts = {k: v for k, v in pattern.metadata.items() if k not in {"kalpha1", "kalpha2", "kalpha_ratio", "anode"}}
    made += [pattern.replace(wavelength=wavelength * (1 + scale), metadata=facts) for scale in scales]
    return made
