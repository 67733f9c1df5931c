"""simxrd_former: the tree of probabilities, masks, positions, composition, several patterns, cost."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import SMALL_FORMER
from torch import nn

from simxrd_hf.errors import BadInput
from simxrd_hf.models import SIZES, SimXRDFormerConfig, SimXRDFormerForSequenceClassification, create_model
from simxrd_hf.models.networks_simxrd_former import (
    LEVELS_OF_GROUP,
    ConvBlock,
    DenseBlock,
    Downsample,
    PatchStem,
    PatternNorm,
    SymmetryTree,
    inverse_d_squared,
    rotary_tables,
)
from simxrd_hf.models.symmetry_simxrd import CRYSTAL_SYSTEM_OF, EXTINCTION_OF


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_sizes():
    counts = {}
    for size in SIZES:
        with torch.device("meta"):
            counts[size] = parameters(SimXRDFormerForSequenceClassification(SimXRDFormerConfig(**SIZES[size])))
    assert counts["tiny"] < 1_000_000 < counts["small"] < 10_000_000 <= counts["base"] <= 30_000_000
    assert 2 * counts["light"] <= 10_000_000  # bytes in float16
    default = create_model("simxrd_former")
    assert parameters(default) == counts["tiny"]  # the configuration's defaults are the size "tiny"


def test_cost_is_within_that_of_the_best_baseline():
    from torch.utils.flop_counter import FlopCounterMode

    flops = {}
    for name, size in (
        ("simxrd_former", "light"),
        ("simxrd_former", "tiny"),
        ("simxrd_former", "small"),
        ("cnn11", None),
    ):
        model = create_model(name, size=size)
        if size:
            model.set_attn_implementation("eager")  # the counter does not see fused attention
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.rand(1, 3501))
        flops[size or name] = counter.get_total_flops()
    assert flops["light"] < flops["tiny"] < flops["small"] < flops["cnn11"]


def test_depthwise_convolution_as_an_image():
    """The faster form gives what nn.Conv1d gives, gradients included."""
    block = ConvBlock(6, 7, 2).double()
    x = torch.randn(3, 20, 6, dtype=torch.float64, requires_grad=True)
    plain = block.depthwise(x.transpose(1, 2)).transpose(1, 2)
    expected = x + block.down(nn.functional.gelu(block.up(block.norm(plain))))
    torch.testing.assert_close(block(x), expected)
    inputs = (x, block.depthwise.weight)
    for one, other in zip(
        torch.autograd.grad(block(x).square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_stem_is_a_strided_convolution():
    torch.manual_seed(0)
    stem = PatchStem(4, 6, 5)
    x = torch.randn(3, 4, 40)
    wanted = nn.functional.conv1d(x, stem.weight, stem.bias, stride=5, padding=5)
    torch.testing.assert_close(stem(x), wanted.transpose(1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        half = stem(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted.transpose(1, 2), atol=0.05, rtol=0.05)


def test_joining_positions_by_hand():
    join = Downsample(2, 1, 2, activate=True)
    with torch.no_grad():
        join.join.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
        join.join.bias.zero_()
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    torch.testing.assert_close(join(x), (nn.functional.gelu(x).flatten() @ join.join.weight[0]).view(1, 1, 1))
    normed = Downsample(2, 1, 2)
    normed.join.load_state_dict(join.join.state_dict())
    expected = x.flatten() / 7.5**0.5 @ join.join.weight[0]  # 7.5 is the mean of 1, 4, 9 and 16
    torch.testing.assert_close(normed(x), expected.view(1, 1, 1))


def test_norm_of_a_pattern_keeps_what_is_strong_and_what_is_weak():
    torch.manual_seed(0)
    norm = PatternNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 0.0]))
    x = torch.randn(2, 50, 3) * torch.linspace(0.01, 3, 50)[:, None]
    y = norm(x)
    torch.testing.assert_close(norm(7 * x), y, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm(x[1:]), y[1:])
    for place in (3, 40):
        torch.testing.assert_close(y[0, place, 0] / y[0, 10, 0], x[0, place, 0] / x[0, 10, 0])
        torch.testing.assert_close(y[0, place, 1] / y[0, place, 0], 2 * x[0, place, 1] / x[0, place, 0])
    assert y[..., 2].eq(0).all()
    assert (y[..., 0] * x.square().mean(dim=(1, 2)).sqrt()[:, None] - x[..., 0]).abs().max() < 1e-4


def test_dense_block_is_a_convolution_over_three_positions():
    block = DenseBlock(5).double()
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    kernel = block.mix.weight.view(5, 3, 5).transpose(1, 2)  # (out, in, position)
    mixed = nn.functional.conv1d(block.norm(x).transpose(1, 2), kernel, block.mix.bias, padding=1).transpose(1, 2)
    torch.testing.assert_close(block(x), x + block.out(nn.functional.gelu(mixed)))


def test_range_dropout_shows_part_of_the_training_patterns():
    torch.manual_seed(0)
    seen = []
    model = create_model("simxrd_former", size="light", range_dropout=0.5).train()
    forward = model.model.body.forward

    def spy(intensity, mask=None, *rest):
        seen.append((intensity, mask))
        return forward(intensity, mask, *rest)

    model.model.body.forward = spy
    patterns = torch.rand(64, 3501) * 90
    model(patterns)
    intensity, mask = seen.pop()
    cut = ~mask.all(dim=1)
    assert 16 <= cut.sum() <= 48
    assert (mask.sum(dim=1) >= 0.39 * 3501).all()
    assert (mask.int().diff(dim=1).abs().sum(dim=1) <= 2).all()  # one stretch
    assert (intensity[~mask] == 0).all()
    torch.testing.assert_close(intensity.amax(dim=1)[cut], torch.full((int(cut.sum()),), 100.0))
    torch.testing.assert_close(intensity[cut] > 0, mask[cut] & (patterns[cut] > 0))
    model.eval()(patterns)
    assert seen.pop()[1] is None


def test_tree_by_hand():
    """Against a plain loop over the tree in float64."""
    scores = torch.randn(3, 353, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    levels = SymmetryTree()(scores)
    assert [level.shape[1] for level in levels] == [7, 15, 101, 230]
    for row in range(3):
        offset, log_p_parent = 0, None
        parents = (None, *[getattr(SymmetryTree(), f"parents_{i}").numpy() for i in range(3)])
        for level, parent in zip(levels, parents, strict=True):
            size = level.shape[1]
            s = scores[row, offset : offset + size].numpy()
            offset += size
            if parent is None:
                expected = s - np.log(np.exp(s).sum())
            else:
                total = np.bincount(parent, weights=np.exp(s))
                expected = log_p_parent[parent] + s - np.log(total[parent])
            np.testing.assert_allclose(level[row].numpy(), expected, atol=1e-5)
            log_p_parent = expected


@torch.no_grad()
def test_probabilities_of_groups_sum_to_their_system(small_former, patterns):
    scores = small_former.classifier(small_former.model(patterns).pooler_output) * 5
    system, lattice, extinction, group = (level.exp() for level in small_former.tree(scores))
    torch.testing.assert_close(group.sum(1), torch.ones(4))
    for level, nodes in zip((system, lattice, extinction), LEVELS_OF_GROUP[:3], strict=True):
        summed = torch.zeros_like(level).index_add_(1, torch.tensor(nodes), group)
        torch.testing.assert_close(summed, level, atol=1e-6, rtol=1e-5)


def test_loss_is_the_sum_of_its_parts(small_former, patterns):
    labels = torch.tensor([0, 224, 13, 193])
    config = small_former.config
    logits = small_former(patterns).logits
    loss = small_former(patterns, labels=labels).loss
    p = logits.detach().double().exp().numpy()
    smoothing = config.label_smoothing
    target = np.full((4, 230), smoothing / 230)
    target[np.arange(4), labels] += 1 - smoothing
    expected = -(target * np.log(p)).sum(1).mean()
    for weight, nodes in zip(config.level_weights, LEVELS_OF_GROUP[:3], strict=True):
        nodes = np.array(nodes)
        own = [p[row, nodes == nodes[label]].sum() for row, label in enumerate(labels)]
        expected -= weight * np.log(own).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    # Trainer hands the number of items over many steps: the loss is then a share of the sum.
    share = small_former(patterns, labels=labels, num_items_in_batch=8).loss
    assert share.item() == pytest.approx(loss.item() / 2, rel=1e-5)
    # Rows without a label do not count.
    part = small_former(patterns, labels=torch.tensor([0, -100, -100, -100])).loss
    assert part.item() == pytest.approx(small_former(patterns[:1], labels=labels[:1]).loss.item(), rel=1e-5)


def test_crystal_system_task_has_a_plain_head(patterns):
    model = create_model("simxrd_former", "crystal_system", **SMALL_FORMER, label_smoothing=0.05).eval()
    assert model.tree is None
    output = model(patterns, labels=torch.tensor([0, 1, 2, 6]))
    assert output.logits.shape == (4, 7)
    expected = nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2, 6]), label_smoothing=0.05)
    torch.testing.assert_close(output.loss, expected)


@torch.no_grad()
def test_what_was_not_measured_does_not_matter(small_former, patterns):
    mask = torch.ones_like(patterns, dtype=torch.bool)
    mask[:, 2000:] = False
    changed = patterns.clone()
    changed[:, 2000:] = 50 * torch.rand(4, 1501)
    torch.testing.assert_close(small_former(patterns, mask).logits, small_former(changed, mask).logits)
    assert not torch.allclose(small_former(patterns, mask).logits, small_former(patterns).logits, atol=1e-4)
    whole = small_former(patterns, torch.ones_like(mask)).logits
    torch.testing.assert_close(whole, small_former(patterns).logits)


@torch.no_grad()
def test_patterns_of_a_batch_do_not_mix_and_place_is_kept(small_former, patterns):
    torch.testing.assert_close(
        small_former(patterns).logits[:1], small_former(patterns[:1]).logits, atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(small_former(patterns).logits, small_former(patterns.roll(64, 1)).logits, atol=1e-3)


def test_coordinate_is_one_over_d_squared():
    grid = {"two_theta_min": 10.0, "two_theta_max": 80.0, "step": 0.02, "wavelength": 1.54184}
    q = inverse_d_squared(grid, 3501, torch.zeros(1, dtype=torch.float64))
    # d = λ / (2 sin θ) at θ = 5° and 40°
    assert (1 / q[0].sqrt()).item() == pytest.approx(8.8453, abs=1e-4)
    assert (1 / q[-1].sqrt()).item() == pytest.approx(1.1993, abs=1e-4)


def test_attention_sees_ratios_of_d():
    """On the log d axis a scaled cell moves all reflections alike; the rotary angle depends on that alone."""
    grid = {"two_theta_min": 10.0, "two_theta_max": 80.0, "step": 0.02, "wavelength": 1.54184}
    cos, sin = rotary_tables(grid, 32, 110, 8, 1000.0, "log_d", torch.zeros(1))
    angle = torch.atan2(sin[:, 3], cos[:, 3])  # the slowest pair of the first half: no wrap-around
    centre = torch.deg2rad(10 + 0.02 * (32 * torch.arange(110) + 15.5)) / 2
    log_d = -torch.log(2 * torch.sin(centre))
    slope = (angle - angle[0]) / (log_d - log_d[0]).clamp(max=-1e-9)
    torch.testing.assert_close(slope[1:], slope[-1].expand(109), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_eager_and_sdpa_attention_agree(small_former, patterns):
    mask = torch.ones_like(patterns, dtype=torch.bool)
    mask[:, 2000:] = False
    assert small_former.config._attn_implementation == "sdpa"
    before = small_former(patterns, mask).logits
    small_former.set_attn_implementation("eager")
    torch.testing.assert_close(before, small_former(patterns, mask).logits, atol=1e-5, rtol=1e-4)


def test_activation_checkpointing_changes_memory_only(patterns):
    torch.manual_seed(0)
    model = create_model("simxrd_former", **SMALL_FORMER, dropout=0.0).train()
    labels = torch.tensor([0, 1, 2, 3])

    def gradients():
        model.zero_grad()
        model(patterns, labels=labels).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.activation_checkpointing_enable()
    assert model.is_activation_checkpointing
    for a, b in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_composition_is_optional(patterns):
    torch.manual_seed(0)
    model = create_model("simxrd_former", use_composition=True, **SMALL_FORMER).eval()
    model.model.body.no_composition.normal_()
    composition = torch.zeros(4, 118)
    composition[:2, 10] = composition[:2, 16] = 0.5
    mixed = model(patterns, composition=composition).logits
    without = model(patterns).logits
    torch.testing.assert_close(mixed[2:], without[2:])
    assert not torch.allclose(mixed[:2], without[:2], atol=1e-4)
    with pytest.raises(ValueError, match=r"\(batch, 118\), got \(4, 100\)"):
        model(patterns, composition=composition[:, :100])
    with pytest.raises(ValueError, match="takes no composition"):
        create_model("simxrd_former", **SMALL_FORMER)(patterns, composition=composition)


def test_composition_is_hidden_at_times_in_training(patterns):
    torch.manual_seed(0)
    model = create_model("simxrd_former", use_composition=True, dropout=0.0, **SMALL_FORMER).train()
    model.config.composition_dropout = 0.999
    composition = torch.full((4, 118), 1 / 118)
    with torch.no_grad():
        torch.testing.assert_close(model(patterns, composition=composition).logits, model(patterns).logits)


@torch.no_grad()
def test_several_patterns_of_a_sample(small_former, patterns):
    pair = patterns.reshape(2, 2, -1)
    together = small_former(pair).logits
    apart = small_former(patterns).logits.reshape(2, 2, -1).mean(1).log_softmax(-1)
    torch.testing.assert_close(together, apart)
    assert together.exp().sum(1).tolist() == pytest.approx([1, 1])
    # A sample with one pattern, padded to two: the empty one does not count.
    mask = torch.ones_like(pair, dtype=torch.bool)
    mask[1, 1] = False
    padded = small_former(pair, mask).logits
    torch.testing.assert_close(padded[1:], small_former(patterns[2:3], mask[1, :1]).logits, atol=1e-5, rtol=1e-4)
    loss = small_former(pair, labels=torch.tensor([0, 5])).loss
    assert torch.isfinite(loss)


def test_learns_system_and_extinction_from_few_patterns(patterns):
    """Four patterns are learnt by heart in a few steps: gradients reach everything."""
    torch.manual_seed(0)
    model = create_model("simxrd_former", dropout=0.0, **SMALL_FORMER).train()
    labels = torch.tensor([0, 224, 13, 193])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model(patterns, labels=labels).loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(patterns).logits.argmax(-1), labels)


def test_bad_settings_are_refused():
    with pytest.raises(StrictDataclassError, match="multiple of twice"):
        SimXRDFormerConfig(widths=[8, 8, 18], attention_heads=4)
    with pytest.raises(StrictDataclassError, match="one entry per stage"):
        SimXRDFormerConfig(widths=[8, 8])
    with pytest.raises(StrictDataclassError, match="kernel must be odd"):
        SimXRDFormerConfig(kernel=6)
    with pytest.raises(StrictDataclassError, match="rope_axis"):
        SimXRDFormerConfig(rope_axis="q")
    with pytest.raises(StrictDataclassError, match="dropout"):
        SimXRDFormerConfig(dropout=1.0)
    with pytest.raises(BadInput, match="sizes tiny, light, small, base"):
        create_model("simxrd_former", size="huge")
    with pytest.raises(BadInput, match="variant"):
        create_model("simxrd_former", variant="as_published")


def test_indices_of_coarser_levels_are_those_of_the_table():
    assert LEVELS_OF_GROUP[0] == tuple(CRYSTAL_SYSTEM_OF.tolist())
    assert LEVELS_OF_GROUP[2] == tuple(EXTINCTION_OF.tolist())
