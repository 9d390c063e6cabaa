"""The models of orders and values: on customers simulated by the models, by hand, and by brute force."""

import numpy as np
import pytest
from scipy.integrate import quad

from retail_platform.transforms.lifetimes import FitError, Histories, OrderModel, ValueModel, fit_orders, fit_values

DAYS = 400.0
TRUE = OrderModel(r=0.8, alpha=40.0, a=0.7, b=2.5)


def simulate(
    model: OrderModel, customers: int, known: float, ahead: float, seed: int = 1
) -> tuple[Histories, np.ndarray]:
    """Customers who behave as the model says: their histories up to `known`, and their orders in the days ahead."""
    random = np.random.default_rng(seed)
    rows, coming = [], []
    for _ in range(customers):
        rate = random.gamma(model.r, 1 / model.alpha)
        leaving = random.beta(model.a, model.b)
        age = random.uniform(0.3 * known, known)
        times, now = [], 0.0
        while now < age + ahead:
            now += random.exponential(1 / rate)
            times.append(now)
            if random.random() < leaving:
                break
        seen = [time for time in times if time <= age]
        rows.append((len(seen), seen[-1] if seen else 0.0, age))
        coming.append(sum(age < time <= age + ahead for time in times))
    repeats, recency, ages = np.array(rows, dtype=float).T
    return Histories(repeats, recency, ages), np.array(coming)


def test_a_fit_finds_the_parameters_that_made_the_customers() -> None:
    customers, _ = simulate(TRUE, 6_000, DAYS, 1.0)
    model = fit_orders(customers)
    assert model.r / model.alpha == pytest.approx(TRUE.r / TRUE.alpha, rel=0.1)
    assert model.a / (model.a + model.b) == pytest.approx(TRUE.a / (TRUE.a + TRUE.b), rel=0.15)


def test_expected_orders_add_up_to_what_came() -> None:
    customers, came = simulate(TRUE, 6_000, DAYS, 90.0, seed=2)
    expected = fit_orders(customers).expected_orders(customers, 90.0)
    assert expected.sum() == pytest.approx(came.sum(), rel=0.06)
    loyal = expected > np.quantile(expected, 0.9)
    assert came[loyal].mean() == pytest.approx(expected[loyal].mean(), rel=0.1)


def test_probability_alive_is_bayes_rule_by_brute_force() -> None:
    model = OrderModel(r=0.8, alpha=40.0, a=2.0, b=2.5)
    customer = Histories(np.array([3.0]), np.array([30.0]), np.array([100.0]))

    def weight(rate: float, leaving: float) -> float:
        return (
            rate ** (model.r - 1 + 3)
            * np.exp(-rate * model.alpha)
            * leaving ** (model.a - 1)
            * (1 - leaving) ** (model.b - 1)
        )

    alive = quad(lambda p: quad(lambda rate: weight(rate, p) * (1 - p) ** 3 * np.exp(-rate * 100), 0, 0.4)[0], 0, 1)[0]
    gone = quad(lambda p: quad(lambda rate: weight(rate, p) * p * (1 - p) ** 2 * np.exp(-rate * 30), 0, 0.4)[0], 0, 1)[
        0
    ]
    assert model.probability_alive(customer)[0] == pytest.approx(alive / (alive + gone), rel=1e-5)


def test_who_never_came_back_counts_as_alive_and_silence_after_many_orders_as_gone() -> None:
    customers = Histories(np.array([0.0, 30.0, 30.0]), np.array([0.0, 60.0, 399.0]), np.full(3, 400.0))
    never, silent, busy = TRUE.probability_alive(customers)
    assert never == 1.0
    assert silent < 0.01
    assert busy > 0.9


def test_the_probability_of_silence_is_the_share_that_stays_away() -> None:
    customers, came = simulate(TRUE, 10_000, DAYS, 180.0, seed=3)
    silent = TRUE.probability_silent(customers, 180.0)
    once, tenth = customers.repeats == 0, np.argsort(np.argsort(silent)) * 10 // silent.size
    for group in (once, ~once, *(tenth == number for number in range(10))):
        error = np.sqrt((silent * (1 - silent))[group].sum()) / group.sum()
        assert (came[group] == 0).mean() == pytest.approx(silent[group].mean(), abs=3 * error)


def test_silence_shrinks_with_time_to_the_probability_of_having_left() -> None:
    customers = Histories(np.array([0.0, 5.0]), np.array([0.0, 50.0]), np.array([60.0, 90.0]))
    assert TRUE.probability_silent(customers, 0.0) == pytest.approx(1.0)
    assert TRUE.probability_silent(customers, 1e12) == pytest.approx(1 - TRUE.probability_alive(customers), abs=1e-6)
    assert (TRUE.probability_silent(customers, 30.0) > TRUE.probability_silent(customers, 60.0)).all()


def test_expected_orders_grow_with_time_and_start_at_none() -> None:
    customers = Histories(np.array([2.0]), np.array([50.0]), np.array([60.0]))
    assert TRUE.expected_orders(customers, 1e-9)[0] == pytest.approx(0.0, abs=1e-6)
    assert TRUE.expected_orders(customers, 60.0)[0] > TRUE.expected_orders(customers, 30.0)[0] > 0


def test_values_are_drawn_towards_everybodys_mean() -> None:
    model = ValueModel(p=4.0, q=3.0, v=50.0)
    everybody = 4.0 * 50.0 / 2.0  # p v / (q - 1)
    none, one, many = model.expected_value(np.array([0.0, 1.0, 1_000.0]), np.array([0.0, 300.0, 300.0]))
    assert none == pytest.approx(everybody)
    assert one == pytest.approx(4.0 * (50.0 + 300.0) / (4.0 + 2.0))
    assert many == pytest.approx(300.0, rel=0.01)


def test_a_fit_of_values_finds_the_mean_and_the_spread() -> None:
    random = np.random.default_rng(3)
    orders = random.integers(1, 12, 8_000).astype(float)
    rates = random.gamma(4.0, 1 / 60.0, 8_000)
    means = random.gamma(5.0 * orders, 1.0) / rates / orders
    model = fit_values(orders, means)
    assert model.p * model.v / (model.q - 1) == pytest.approx(5.0 * 60.0 / 3.0, rel=0.03)
    assert model.p == pytest.approx(5.0, rel=0.2)


@pytest.mark.parametrize(
    ("repeats", "recency", "age"),
    [(1.0, 20.0, 10.0), (0.0, 5.0, 10.0), (-1.0, 0.0, 10.0)],
    ids=["late", "none", "minus"],
)
def test_impossible_histories_are_refused(repeats: float, recency: float, age: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= recency <= age"):
        Histories(np.array([repeats]), np.array([recency]), np.array([age]))


def test_customers_without_any_repeat_cannot_be_fitted() -> None:
    with pytest.raises(FitError, match="no customer has a repeat order"):
        fit_orders(Histories(np.zeros(5), np.zeros(5), np.full(5, 30.0)))


def test_values_that_are_not_positive_cannot_be_fitted() -> None:
    with pytest.raises(FitError, match="1 without a positive value"):
        fit_values(np.array([1.0, 2.0]), np.array([10.0, -3.0]))
