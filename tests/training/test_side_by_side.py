"""Parts of a batch computed by threads: the gradients of the whole batch, the same bits every time."""

import pytest
import torch
from test_loop import final, same

from simxrd_hf.models import create_model
from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.history import read_history
from simxrd_hf.training.side_by_side import SideBySide


def test_gradients_are_those_of_the_whole_batch():
    torch.manual_seed(0)
    model = create_model("simxrd_former", "space_group", size="tiny").train()
    assert model.rows_apart
    draw = torch.Generator().manual_seed(1)
    batch = {
        "intensity": 100 * torch.rand(7, 3501, generator=draw) ** 8,
        "labels": torch.randint(0, 230, (7,), generator=draw),
    }
    found = []
    for threads in (1, 2, 3, 2):
        model.zero_grad()
        crew = SideBySide(threads)
        loss = crew.backward(lambda part: model(**part).loss, torch.Tensor.backward, batch)
        crew.close()
        found.append((loss, [p.grad.clone() for p in model.parameters()]))
    for loss, grads in found[1:]:
        assert torch.allclose(loss, found[0][0], rtol=1e-6)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(grads, found[0][1], strict=True))
    assert torch.equal(found[1][0], found[3][0]) and all(map(torch.equal, found[1][1], found[3][1]))


def test_an_error_in_a_thread_is_raised_here():
    def fails(part):
        raise ValueError(f"{len(part['labels'])} rows")

    crew = SideBySide(2)
    with pytest.raises(ValueError, match="1 rows"):
        crew.backward(fails, torch.Tensor.backward, {"labels": torch.zeros(2)})
    crew.close()


@pytest.mark.slow
def test_a_run_by_two_threads_is_that_of_one_and_is_made_again_bit_for_bit(tmp_path):
    torch.set_num_threads(2)  # of this test alone, see conftest
    common = {
        "model": "simxrd_former", "size": "light", "model_options": {"range_dropout": 0.5}, "task": "space_group",
        "crystals": "prototypes", "limit_crystals": 12, "patterns": 16, "batch_size": 8, "loss": "model", "cpu": True,
        "mixed_precision": "no", "num_workers": 0, "calibration": "none", "progress": False, "log_every": 1,
        "validation_rows": 4, "evaluate_every": 2,
    }  # fmt: skip
    runs = {"one": 1, "two": 2, "again": 2}
    for name, threads in runs.items():
        train(TrainConfig(**common, output=str(tmp_path / name), threads=threads))
    curves = {name: [row["train_loss"] for row in read_history(tmp_path / name / "history.csv")] for name in runs}
    assert curves["two"] == pytest.approx(curves["one"], rel=1e-4)
    assert curves["two"] == curves["again"] and same(final(tmp_path / "two"), final(tmp_path / "again"))
