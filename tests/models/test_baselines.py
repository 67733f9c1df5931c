"""The 21 benchmark networks: sizes, both variants, the published faults and their absence."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import COARSE
from torch import nn

from simxrd_hf.errors import BadInput
from simxrd_hf.models import ARCHITECTURES, SimXRDBaselineConfig, SimXRDBaselineForSequenceClassification, create_model
from simxrd_hf.models.networks_simxrd_baseline import PUBLISHED_SOFTMAXES

# Millions of parameters of the released code for 230 classes, as the benchmark's own count was written down.
PUBLISHED_MILLIONS = {
    "cnn1": "21.1", "cnn2": "17.4", "cnn3": "23.0", "cnn4": "1.09", "cnn5": "0.40", "cnn6": "4.64", "cnn7": "6.15",
    "cnn8": "2.03", "cnn9": "23.6", "cnn10": "10.5", "cnn11": "31.4", "mlp": "98.8", "rnn": "0.044", "lstm": "0.13",
    "gru": "0.10", "birnn": "0.11", "bilstm": "0.36", "bigru": "0.28", "transformer": "0.28", "itransformer": "1.25",
    "patchtst": "3.97",
}  # fmt: skip
EXACT_230 = {"cnn5": 400_970, "cnn11": 31_369_420, "mlp": 98_829_730, "gru": 102_694, "patchtst": 3_972_710}
# Those cheap enough to run in full here; the others run in the benchmark.
LIGHT = ("cnn4", "cnn5", "cnn8", "itransformer", "patchtst")


def count(name: str, task: str = "space_group", variant: str = "corrected") -> int:
    config = SimXRDBaselineConfig(architecture=name, task=task, variant=variant)
    with torch.device("meta"):
        model = SimXRDBaselineForSequenceClassification(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts_equal_the_table(name):
    published = Decimal(PUBLISHED_MILLIONS[name])
    millions = Decimal(count(name)) / 1_000_000
    # The table was rounded twice (1.2449 -> 1.245 -> 1.25), hence first to three decimals.
    once = millions.quantize(Decimal("0.001"), ROUND_HALF_UP)
    assert once.quantize(published, ROUND_HALF_UP) == published
    assert count(name, variant="as_published") == count(name)
    assert EXACT_230.get(name, count(name)) == count(name)


def test_cpicann_has_the_parameters_of_its_code():
    """Counted from the layers of the authors' code (WPEM/CPICANN, width 128), the fixed position code left out."""

    def conv(i, o, k):
        return i * o * k + o

    def block(i, o, shorter):  # two convolutions with batch norms; the shortcut has both too
        return conv(i, o, 3) + conv(o, o, 3) + 4 * o + (conv(i, o, 1) + 2 * o if shorter else 0)

    def linear(i, o):
        return i * o + o

    stem = conv(1, 64, 35) + 128 + block(64, 64, True) + block(64, 64, False) + block(64, 128, True)
    layer = 4 * linear(128, 128) + linear(128, 1024) + linear(1024, 128) + 4 * 128
    head = linear(128, 512) + linear(512, 512) + 4 * 512
    expected = stem + block(128, 128, False) + 128 + 6 * layer + 2 * 128 + head
    assert count("cpicann") == expected + linear(512, 230)
    assert count("cpicann", variant="as_published") == count("cpicann")
    assert count("cpicann", "crystal_system") == expected + linear(512, 7)


def test_cpicann_tells_places_apart_and_has_its_activation_only_where_corrected(patterns):
    torch.manual_seed(0)
    published = create_model("cpicann", "crystal_system", variant="as_published").eval()
    corrected = create_model("cpicann", "crystal_system").eval()
    corrected.load_state_dict(published.state_dict())
    with torch.no_grad():
        assert corrected(patterns[:2]).logits.shape == (2, 7)
        assert not torch.allclose(corrected(patterns[:2]).logits, published(patterns[:2]).logits, atol=1e-4)
        token = corrected.model.body.stages[0]
        peaks = torch.zeros(2, 1, 3501)
        peaks[0, 0, 800:803], peaks[1, 0, 2400:2403] = 100.0, 100.0
        assert not torch.allclose(*token(peaks), atol=1e-4)
        # a stem of stride 32 makes 110 tokens of 3501 points; with the class token 142 of 4501, as the authors have
        assert token.stem(torch.zeros(1, 1, 3501)).shape == (1, 128, 110)
        assert token.stem(torch.zeros(1, 1, 4501)).shape == (1, 128, 141)
    corrected.train()(intensity=patterns, labels=torch.arange(4)).loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in corrected.parameters())


def test_seven_classes_change_the_layout_where_published():
    linear = 7680 * 700 + 700 + 700 * 70 + 70 + 70 * 7 + 7
    convolutions = 80 * 100 + 80 + 80 * 80 * 50 + 80 + 80 * 80 * 25 + 80
    assert count("cnn1", "crystal_system") == linear + convolutions
    # cnn8: 64 instead of 256 channels before the classifier
    assert count("cnn8") - count("cnn8", "crystal_system") == (256 - 64) * (512 * 3 + 1) + 256 * 230 + 230 - 64 * 7 - 7
    assert count("gru") - count("gru", "crystal_system") == 65 * (230 - 7)


@pytest.mark.parametrize("task", ["space_group", "crystal_system"])
@pytest.mark.parametrize("name", LIGHT)
def test_forward_backward_and_any_number_of_labels(name, task, patterns):
    model = create_model(name, task).eval()
    labels = torch.tensor([0, 1, 2, 3])
    output = model(intensity=patterns, labels=labels)
    assert output.logits.shape == (4, 230 if task == "space_group" else 7)
    expected = nn.functional.cross_entropy(output.logits, labels)
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    other = create_model(name, task, num_labels=5).eval()
    assert other(intensity=patterns).logits.shape == (4, 5)
    assert other.config.id2label[0] == "LABEL_0"


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n in PUBLISHED_SOFTMAXES and n != "mlp"] + ["cnn9"])
def test_published_softmax_is_there_only_where_published(name, patterns):
    """Nine networks returned probabilities; with the loss taking them for logits the loss cannot fall below a floor."""
    # The layers before do not matter here, so the cheapest width will do.
    published = create_model(name, "crystal_system", variant="as_published").eval()
    corrected = create_model(name, "crystal_system").eval()
    corrected.load_state_dict(published.state_dict())
    with torch.no_grad():
        wrong, right = (model(intensity=patterns[:2]).logits for model in (published, corrected))
    sums_to_one = torch.allclose(wrong.sum(-1), torch.ones(2)) and bool((wrong >= 0).all())
    assert sums_to_one == (name in PUBLISHED_SOFTMAXES)
    expected = right
    for _ in range(PUBLISHED_SOFTMAXES.get(name, 0)):
        expected = expected.softmax(-1)
    torch.testing.assert_close(wrong, expected)
    assert not torch.allclose(right.sum(-1), torch.ones(2), atol=1e-3)


def test_nine_networks_apply_softmax_and_two_of_them_twice():
    assert set(PUBLISHED_SOFTMAXES) == {*(f"cnn{n}" for n in range(1, 9)), "mlp"}
    assert {name for name, times in PUBLISHED_SOFTMAXES.items() if times == 2} == {"cnn4", "mlp"}


def test_published_softmax_stops_the_loss_at_its_floor():
    """A one-hot answer, the best a softmax can give, still costs ln(229 + e) - 1: the floor of the collapsed runs."""
    one_hot = nn.functional.one_hot(torch.tensor([3]), 230).float()
    floor = nn.functional.cross_entropy(one_hot, torch.tensor([3]))
    assert floor.item() == pytest.approx(4.4455, abs=1e-4)


def coarse(name: str, variant: str = "corrected"):
    torch.manual_seed(0)
    return create_model(name, "crystal_system", variant=variant, grid=COARSE).eval()


@torch.no_grad()
def test_published_transformer_mixes_the_batch_and_reads_one_point(patterns):
    x = patterns[:, ::10]
    published, corrected = coarse("transformer", "as_published"), coarse("transformer")
    changed = x.clone()
    changed[0] = 100 - x[0]
    assert not torch.allclose(published(x).logits[1], published(changed).logits[1], atol=1e-4)
    torch.testing.assert_close(corrected(x).logits[1], corrected(changed).logits[1])
    # Alone or in company: the corrected one gives the same answer.
    torch.testing.assert_close(corrected(x).logits[:1], corrected(x[:1]).logits, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(published(x).logits[:1], published(x[:1]).logits, atol=1e-4)
    others = torch.rand_like(x) * 100
    others[:, -1] = x[:, -1]
    torch.testing.assert_close(published(x).logits, published(others).logits)
    assert not torch.allclose(corrected(x).logits, corrected(others).logits, atol=1e-4)
    # Position: a shifted pattern is another pattern.
    assert not torch.allclose(corrected(x).logits, corrected(x.roll(50, 1)).logits, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["birnn", "bilstm", "bigru"])
def test_published_bidirectional_nets_read_backwards_one_point_only(name, patterns):
    """The backward half of the top layer starts at the last step: it has gone one step when it is read."""
    x = patterns[:2, None, ::10]
    published, corrected = (coarse(name, variant).model.body.stages[0] for variant in ("as_published", "corrected"))
    corrected.load_state_dict(published.state_dict())
    steps = torch.zeros(2, 351, 128).uniform_(generator=torch.Generator().manual_seed(1))
    top = type(published.layers)(128, 64, batch_first=True, bidirectional=True)
    prefix = {
        "weight_ih_l3": "weight_ih_l0",
        "weight_hh_l3": "weight_hh_l0",
        "bias_ih_l3": "bias_ih_l0",
        "bias_hh_l3": "bias_hh_l0",
    }
    state = {}
    for source, target in prefix.items():
        for side in ("", "_reverse"):
            state[target + side] = getattr(published.layers, source + side)
    top.load_state_dict(state)
    other = torch.rand_like(steps)
    other[:, -1] = steps[:, -1]
    before, after = top(steps)[0], top(other)[0]
    torch.testing.assert_close(before[:, -1, 64:], after[:, -1, 64:])  # what was published
    assert not torch.allclose(before[:, 0, 64:], after[:, 0, 64:], atol=1e-4)  # what is read now
    assert torch.equal(published(x)[:, :64], corrected(x)[:, :64])
    assert not torch.allclose(published(x)[:, 64:], corrected(x)[:, 64:], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_one_way_nets_read_every_point(name, patterns):
    model = coarse(name)
    x = patterns[:2, ::10]
    assert model(x).logits.shape == (2, 7)
    assert torch.equal(model(x).logits, coarse(name, "as_published")(x).logits)


def test_fresh_weights_follow_torch_not_transformers():
    torch.manual_seed(0)
    model = create_model("cnn5")
    weight = model.classifier.weight
    assert weight.std().item() == pytest.approx(1 / (3 * weight.shape[1]) ** 0.5, rel=0.02)  # U(-b, b), b = fan_in^-1/2
    wide = create_model("cnn8").model.body.stages[12][0].weight  # Xavier uniform
    fans = wide[0].numel() + wide.shape[0] * wide.shape[2]
    assert wide.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.02)


def test_intensity_scaling(patterns):
    mask = torch.ones_like(patterns, dtype=torch.bool)
    mask[:, 1000:] = False
    models = {name: create_model("cnn5", intensity_scaling=name).eval() for name in ("none", "unit", "sqrt")}
    for model in models.values():
        model.load_state_dict(models["none"].state_dict())
    plain = models["none"]
    torch.testing.assert_close(models["unit"](patterns).logits, plain(patterns / 100).logits)
    torch.testing.assert_close(models["sqrt"](patterns).logits, plain((patterns / 100).sqrt()).logits)
    torch.testing.assert_close(plain(patterns, mask=mask).logits, plain(patterns * mask).logits)


def test_bad_names_are_refused():
    with pytest.raises(BadInput, match="no model 'cnn12'"):
        create_model("cnn12")
    with pytest.raises(BadInput, match="one size"):
        create_model("cnn5", size="tiny")
    with pytest.raises(StrictDataclassError, match="architecture must be one of"):
        SimXRDBaselineConfig(architecture="cnn12")
    with pytest.raises(BadInput, match="variant must be one of"):
        create_model("cnn5", variant="fixed")


def test_wrong_length_names_what_came(patterns):
    with pytest.raises(ValueError, match=r"\(batch, 3501\), got \(4, 3500\)"):
        create_model("cnn5")(patterns[:, 1:])


def test_net_too_deep_for_the_grid():
    with pytest.raises(ValueError, match="too few points"):
        create_model("cnn9", grid={"step": 5.0})
