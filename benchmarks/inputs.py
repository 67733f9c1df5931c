"""What other inputs, augmentations and losses bring: variants of one network that learn from the same patterns at once.

    python benchmarks/inputs.py --crystals STRUCTURES --seed 0 --csv inputs.csv     # for each seed: appends its rows
    python benchmarks/inputs.py --table inputs.csv                                  # means over seeds

Every variant sees the same batches in the same order and begins with the same weights, so that what differs is the
variant alone. Scores are those of unseen formulas, after one temperature fitted to the validation rows.
"""

import argparse
import csv
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simxrd_hf.metrics import fit_temperature
from simxrd_hf.models import create_model
from simxrd_hf.models.networks_simxrd_former import LEVELS_OF_GROUP
from simxrd_hf.training import TrainConfig
from simxrd_hf.training.evaluation import score
from simxrd_hf.training.machine import keep_freed_memory
from simxrd_hf.training.optimization import build_optimizer, learning_rate
from simxrd_hf.training.sources import open_split, open_training, training_batches

SHOWN = ("space_group", "macro_f1", "top_5", "extinction_symbol", "crystal_system", "nll")
_CROPS = ((0.0, 1.0), (0.0, 0.6), (0.2, 0.8), (0.4, 1.0))


class Axis:
    """Means of the input channels over the steps of another axis, for a stem to see instead of steps of 2θ.

    Args:
        scale: 2θ in degrees → the quantity whose steps are to be even.
        grid: The pattern grid.
        points: Its number of points, padding included.
    """

    def __init__(self, scale: Callable[[Any], Any], grid: dict[str, float], points: int) -> None:
        angle = grid["two_theta_min"] + grid["step"] * np.arange(points)
        edges = np.linspace(scale(angle[0]), scale(angle[-1]), points + 1)
        place = np.interp(edges, scale(angle), np.arange(points))
        self.left = torch.tensor(np.minimum(place.astype(np.int64), points - 1))
        self.part = torch.tensor(place - place.astype(np.int64), dtype=torch.float32)
        self.width = torch.tensor(np.diff(place), dtype=torch.float32)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """As a forward pre-hook of the stem: (batch, channels, length) → the same shape."""
        x = inputs[0].float()
        # the integral of the polygon through the points, at the edges of the new steps
        whole = nn.functional.pad(((x[..., 1:] + x[..., :-1]) / 2).cumsum(-1), (1, 0))
        after = nn.functional.pad(x, (0, 1), mode="replicate")
        begin, end = after[..., self.left], after[..., self.left + 1]
        at = whole[..., self.left] + self.part * (begin + self.part / 2 * (end - begin))
        return (at.diff(dim=-1) / self.width,)


def _logarithm(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Logarithms of the intensity in place of its root."""
    plain = inputs[0]
    logs = torch.log1p(plain[:, :1] * (1000.0 / 30.0)) * (3.0 / math.log(1001.0))
    return (torch.cat([plain[:, :1], logs, plain[:, 2:]], dim=1),)


def _second_phase(intensity: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the patterns with up to three tenths of another of the batch on top."""
    other = intensity[torch.randperm(len(intensity), generator=generator)]
    part = 0.3 * torch.rand(len(intensity), 1, generator=generator)
    part *= torch.rand(len(intensity), 1, generator=generator) < 0.5
    mixed = intensity + part * other
    return mixed * (100.0 / mixed.amax(dim=1, keepdim=True))


def _within_lattice(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean of −log p(group | lattice): what tells groups of one lattice from each other, weighed once more."""
    lattice_of = torch.tensor(LEVELS_OF_GROUP[1])
    same = lattice_of[None] == lattice_of[labels][:, None]
    inside = torch.where(same, log_p, torch.full_like(log_p, -math.inf)).logsumexp(dim=1)
    return (inside - log_p.gather(1, labels[:, None]).squeeze(1)).mean()


@dataclass(frozen=True)
class Variant:
    """One way to show patterns to a network or to judge its answers."""

    about: str
    options: dict[str, Any] = field(default_factory=dict)
    axis: Callable[[Any], Any] | None = None
    hook: Callable[..., Any] | None = None
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    further_loss: Callable[[Tensor, Tensor], Tensor] | None = None
    crops: Sequence[tuple[float, float]] = ()


VARIANTS = {
    "base": Variant("as packaged: even steps of 2θ"),
    "q": Variant("even steps of q", axis=lambda angle: np.sin(np.radians(angle / 2))),
    "log_q": Variant(
        "even steps of ln q: scaling the cell is a shift", axis=lambda angle: np.log(np.sin(np.radians(angle / 2)))
    ),
    "low_angles": Variant("even steps of the root of 2θ: twice the points at 20° that there are at 80°", axis=np.sqrt),
    "log_intensity": Variant("logarithm of the intensity in place of its root", hook=_logarithm),
    "crops": Variant("half of the patterns cut; answers of four ranges averaged", {"range_dropout": 0.5}, crops=_CROPS),
    "mixtures": Variant("half of the patterns with up to 30 % of another", augment=_second_phase),
    "within_lattice": Variant("−log p(group | lattice) added to the loss", further_loss=_within_lattice),
}  # fmt: skip


class Learner:
    """A network in training and how it is to see patterns."""

    def __init__(self, variant: Variant, config: TrainConfig) -> None:
        self.variant, self.config = variant, config
        torch.manual_seed(config.seed)
        options = {"range_dropout": 0.1} | variant.options
        self.model: Any = create_model("simxrd_former", "space_group", size="light", **options)
        body = self.model.model.body
        if variant.axis is not None:
            points = body.tokens * body.stride
            body.stem.register_forward_pre_hook(Axis(variant.axis, self.model.config.full_grid, points))
        if variant.hook is not None:
            body.stem.register_forward_pre_hook(variant.hook)
        self.optimizer = build_optimizer(config.optimization, self.model, torch.device("cpu"))
        self.draws = torch.Generator().manual_seed(config.seed)

    def step(self, intensity: Tensor, labels: Tensor, done: float, seed: int) -> None:
        """One optimiser step."""
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.optimization, done)
        if self.variant.augment is not None:
            intensity = self.variant.augment(intensity, self.draws)
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self.model(intensity, labels=labels)
        loss = output.loss
        if self.variant.further_loss is not None:
            loss = loss + self.variant.further_loss(output.logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimization.max_grad_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.inference_mode()
    def logits(self, intensity: Tensor) -> np.ndarray:
        """(n, n_points) → (n, 230)."""
        self.model.eval()
        found = []
        for batch in intensity.split(256):
            shown, mask = batch, None
            if self.variant.crops:
                n = batch.shape[1]
                seen = torch.zeros(len(self.variant.crops), n, dtype=torch.bool)
                for row, (low, high) in zip(seen, self.variant.crops, strict=True):
                    row[int(low * n) : int(high * n)] = True
                mask = seen.expand(len(batch), *seen.shape)
                shown = batch[:, None] * mask
                shown = shown * (100.0 / shown.amax(dim=-1, keepdim=True).clamp(min=1e-6))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found.append(self.model(shown, mask=mask).logits.float())
        return torch.cat(found).numpy()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", default="prototypes", help="crystal table (default: the packaged prototypes)")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--patterns", type=int, default=153_600)
    parser.add_argument("--test-rows", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="append the rows there")
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print the table of the rows there")
    args = parser.parse_args(argv)
    if args.table:
        with args.table.open(newline="") as file:
            print(table(list(csv.DictReader(file))))
        return 0
    rows = run(args)
    if args.csv:
        new = not args.csv.exists()
        with args.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
    print(table(rows))
    return 0


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train all variants on one stream of batches and score them: a row each."""
    keep_freed_memory()
    config = TrainConfig.from_dict(
        {
            "source": {"crystals": args.crystals, "preset": "lab", "max_atoms": 120, "split_by": "formula"}
            | {"isostructural": 0.7, "fresh_patterns": True, "impurity_pool": 500, "data_config": "out_of_library"},
            "network": {"task": "space_group"},
            "budget": {"patterns": args.patterns},
            "optimization": {"learning_rate": 1e-3, "weight_decay": 0.02, "max_grad_norm": 1.0, "warmup": 0.03},
            "execution": {"cpu": True, "num_workers": 0, "output": "unused"},
            "seed": args.seed,
        },
        where="inputs",
    )
    steps = args.patterns // config.batches.batch_size
    learners = {name: Learner(VARIANTS[name], config) for name in args.variants}
    batches = training_batches(config, open_training(config), 0, 1, 0, steps, torch.device("cpu"))
    begun = time.monotonic()
    for step, batch in enumerate(batches):
        for learner in learners.values():
            learner.step(batch["intensity"], batch["labels"], (step + 0.5) / steps, 1_000_003 * args.seed + step)
        if step % 100 == 99:
            spent = time.monotonic() - begun
            print(f"step {step + 1} of {steps}, {spent * (steps / (step + 1) - 1) / 60:.0f} min left", flush=True)
    halves = {split: patterns_of(config, split, args.test_rows) for split in ("validation", "test")}
    about = {"seed": args.seed, "patterns": steps * config.batches.batch_size, "test_rows": len(halves["test"][1])}
    about |= {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()} {platform.system()}"}
    rows = []
    for name, learner in learners.items():
        logits = {split: learner.logits(intensity) for split, (intensity, _) in halves.items()}
        temperature = fit_temperature(logits["validation"], halves["validation"][1])
        found = score(halves["test"][1], logits["test"], "space_group", temperature=temperature)
        names = ("accuracy", "macro_f1", "top_5_accuracy", "extinction_symbol_accuracy", "crystal_system_accuracy")
        rows.append(
            {"variant": name}
            | {shown: round(found[key], 5) for shown, key in zip(SHOWN, (*names, "nll"), strict=True)}
            | about
        )
    return rows


def patterns_of(config: TrainConfig, split: str, limit: int) -> tuple[Tensor, np.ndarray]:
    """(n, n_points) patterns of a split and their labels."""
    source = open_split(config, split, limit_rows=limit if split == "test" else limit // 4)
    parts = [source.__getitems__([(0, row)])["intensity"] for row in range(len(source))]
    return torch.cat(parts), np.asarray(source.labels)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over seeds in per cent (nll in nats), and the differences to the first variant, seed by seed."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    values = {(row["variant"], str(row["seed"])): {key: float(row[key]) for key in SHOWN} for row in rows}
    seeds = sorted({seed for _, seed in values})
    lines = ["| variant | " + " | ".join(SHOWN) + " |", "| --- |" + " ---: |" * len(SHOWN)]
    for name in names:
        cells = []
        for key in SHOWN:
            unit = 1 if key == "nll" else 100
            mean = statistics.mean(values[name, seed][key] for seed in seeds) * unit
            cell = f"{mean:.2f}"
            if name != names[0]:
                gains = [(values[name, seed][key] - values[names[0], seed][key]) * unit for seed in seeds]
                cell += f" ({', '.join(f'{gain:+.2f}' for gain in gains)})"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
