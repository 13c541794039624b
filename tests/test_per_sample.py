"""Per-sample mathematics: every row is computed as if it were alone."""

import torch

from fcs.core.per_sample import RecordNoise, column, dot, max_norm, rms, safe_divide


def test_norms_and_products_are_each_rows_own() -> None:
    x = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]], [[-100.0, 1.0]]])
    assert torch.equal(max_norm(x), torch.tensor([[[4.0]], [[0.0]], [[100.0]]]))
    assert torch.equal(dot(x, x), torch.tensor([25.0, 0.0, 10001.0]))
    assert torch.equal(rms(x[:2]), torch.tensor([12.5**0.5, 0.0]))


def test_column_broadcasts_over_rows() -> None:
    like = torch.ones(2, 3, 4, 5)
    scaled = column(torch.tensor([2.0, 3.0]), like) * like
    assert torch.equal(scaled[0], 2 * like[0])
    assert torch.equal(scaled[1], 3 * like[1])


def test_safe_divide_gives_zero_where_the_norm_is_zero() -> None:
    a = torch.tensor([[1.0, -2.0], [0.0, 0.0], [3.0, 3.0]])
    divided = safe_divide(a, torch.tensor([[2.0], [0.0], [0.0]]))
    assert torch.equal(divided, torch.tensor([[0.5, -1.0], [0.0, 0.0], [0.0, 0.0]]))


def test_safe_divide_has_a_finite_gradient_where_the_norm_is_zero() -> None:
    a = torch.zeros(1, 2, requires_grad=True)
    safe_divide(a, torch.zeros(1, 1)).sum().backward()
    assert torch.equal(a.grad, torch.zeros(1, 2))


def test_noise_belongs_to_the_seed_alone() -> None:
    alone = RecordNoise([7])
    among = RecordNoise([1, 2, 7, 7])
    for shape in [(3,), (2, 5), (3,)]:
        own, rows = alone(shape), among(shape)
        assert torch.equal(rows[2], own[0])
        assert torch.equal(rows[3], own[0])
        assert not torch.equal(rows[1], own[0])


def test_noise_goes_on_from_draw_to_draw() -> None:
    randn = RecordNoise([7])
    assert not torch.equal(randn((8,)), randn((8,)))


def test_noise_is_drawn_in_float32_whatever_it_is_cast_to() -> None:
    assert torch.equal(RecordNoise([5], dtype=torch.float64)((9,)), RecordNoise([5])((9,)).double())


def test_noise_takes_every_seed_that_a_record_may_have() -> None:
    assert torch.isfinite(RecordNoise([0, 2**63 - 1])((4,))).all()


def test_noise_is_standard_normal() -> None:
    noise = RecordNoise([0, 1])((50_000,))
    # Four standard errors of mean (1 / sqrt n) and of the second moment (sqrt(2 / n)).
    assert (noise.mean(1).abs() < 4 / 50_000**0.5).all()
    assert ((noise.square().mean(1) - 1).abs() < 4 * (2 / 50_000) ** 0.5).all()
    assert dot(noise[:1], noise[1:]).abs() / 50_000 < 4 / 50_000**0.5


def test_all_bits_of_a_seed_count() -> None:
    low, high = RecordNoise([7, 7 + 2**32])([4]), RecordNoise([7, 7 + 2**62])([4])
    assert not torch.equal(low[0], low[1])
    assert not torch.equal(high[0], high[1])
