"""How long customers stay and what they will buy: the BG/NBD model of orders and the Gamma-Gamma model of their size.

Both are fitted here by maximum likelihood with SciPy: the library once used for them is no longer kept. Who is scored
when, and the choice of a calibration period, stays with the caller.

Sources: Fader, Hardie, Lee, "Counting Your Customers the Easy Way", Marketing Science 24 (2005), for BG/NBD; Fader,
Hardie, "The Gamma-Gamma Model of Monetary Value" (2013).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PENALTY = 1e-5
"""Weight of the squared logarithms of the parameters: keeps a fit to few customers from running away."""


class FitError(ValueError):
    """The model cannot be fitted to these customers; the message says what they lack."""


@dataclass(frozen=True)
class Histories:
    """What the models know of customers, one element each.

    Attributes:
        repeats: days with an order after the first such day.
        recency: days from the first to the last day with an order; 0 without a repeat.
        age: days from the first day with an order to the end of what is known; at least recency.
    """

    repeats: Floats
    recency: Floats
    age: Floats

    def __post_init__(self) -> None:
        wrong = (self.repeats < 0) | (self.recency < 0) | (self.age < self.recency)
        wrong |= (self.repeats == 0) & (self.recency > 0)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"customer {first} has {self.repeats[first]:g} repeats, recency {self.recency[first]:g}, age "
                f"{self.age[first]:g}; expected 0 <= recency <= age, and recency 0 without a repeat."
            )


@dataclass(frozen=True)
class OrderModel:
    """A fitted BG/NBD model: orders come at a gamma-distributed rate (r, alpha per day), and after each one a customer
    leaves for good with a beta-distributed probability (a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def probability_alive(self, customers: Histories) -> Floats:
        """Probability that each customer has not left, 1 for those without a repeat (they never had a chance to)."""
        return np.asarray(1 / (1 + self._left_odds(customers)), np.float64)

    def expected_orders(self, customers: Histories, days: float) -> Floats:
        """Expected days with an order of each customer in the coming days.

        Args:
            customers: their histories.
            days: how far ahead, from the end of what is known.
        """
        from scipy.special import hyp2f1

        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        x, age = customers.repeats, customers.age
        # Where a is near 1 the formula is 0/0; a step aside changes the result by less than a millionth.
        a = a if abs(a - 1) > 1e-6 else 1 + 1e-6
        series = hyp2f1(r + x, b + x, a + b + x - 1, days / (alpha + age + days))
        shrunk = ((alpha + age) / (alpha + age + days)) ** (r + x) * series
        return np.asarray((a + b + x - 1) / (a - 1) * (1 - shrunk) / (1 + self._left_odds(customers)), np.float64)

    def probability_silent(self, customers: Histories, days: float) -> Floats:
        """Probability that each customer has no order in the coming days, having left or not.

        A customer leaves only after an order, so one that is alive at T stays so until its next order, and its rate is
        then distributed as Gamma(r + x, alpha + T) whatever its probability of leaving: prior times likelihood are
        rate^(r + x - 1) e^(-rate (alpha + T)) times a factor without the rate. The mean of e^(-rate * days) over it
        is ((alpha + T) / (alpha + T + days))^(r + x). Silent is who has left, or is alive and does not order.

        Args:
            customers: their histories.
            days: how far ahead, from the end of what is known.
        """
        known = self.alpha + customers.age
        silent = (known / (known + days)) ** (self.r + customers.repeats)
        return np.asarray(1 - self.probability_alive(customers) * (1 - silent), np.float64)

    def _left_odds(self, customers: Histories) -> Floats:
        x = customers.repeats
        ratio = (self.alpha + customers.age) / (self.alpha + customers.recency)
        odds = self.a / (self.b + np.maximum(x, 1) - 1) * ratio ** (self.r + x)
        return np.where(x > 0, odds, 0.0)


@dataclass(frozen=True)
class ValueModel:
    """A fitted Gamma-Gamma model: order values scatter around each customer's own mean (p), which is spread over
    customers by (q, v)."""

    p: float
    q: float
    v: float

    def expected_value(self, orders: Floats, mean_value: Floats) -> Floats:
        """Expected value of a customer's next order: its own mean, drawn towards everybody's the fewer its orders.

        Args:
            orders: days with an order; 0 gives everybody's mean.
            mean_value: mean value of those, positive; ignored where orders is 0.
        """
        p, q, v = self.p, self.q, self.v
        known = np.where(orders > 0, mean_value, 0.0)
        return np.asarray(p * (v + orders * known) / (p * orders + q - 1), np.float64)


def fit_orders(customers: Histories) -> OrderModel:
    """Fit BG/NBD by maximum likelihood.

    Args:
        customers: their histories, of one length of time unit (days).

    Returns:
        The model.

    Raises:
        FitError: nobody came back, or the optimiser found no maximum.
    """
    if not (customers.repeats > 0).any():
        raise FitError("no customer has a repeat order, so neither rate nor loss can be told; fit on a longer period.")
    scale = float(customers.age.max())
    scaled = Histories(customers.repeats, customers.recency / scale, customers.age / scale)
    r, alpha, a, b = _maximise(
        lambda found: _order_likelihood(found[0], found[1], found[2], found[3], scaled), start=(1.0, 1.0, 1.0, 1.0)
    )
    return OrderModel(r, alpha * scale, a, b)


def fit_values(orders: Floats, mean_values: Floats) -> ValueModel:
    """Fit Gamma-Gamma by maximum likelihood.

    Args:
        orders: days with an order of each customer, at least 1.
        mean_values: mean value of those, positive.

    Returns:
        The model.

    Raises:
        FitError: fewer than two customers, an order count below 1, a value that is not positive, or no maximum found.
    """
    if orders.size < 2 or (orders < 1).any() or (mean_values <= 0).any():
        raise FitError(
            f"found {orders.size} customers, {int((orders < 1).sum())} of them without an order and "
            f"{int((mean_values <= 0).sum())} without a positive value; expected two or more with both."
        )
    scale = float(mean_values.mean())
    p, q, v = _maximise(
        lambda found: _value_likelihood(found[0], found[1], found[2], orders, mean_values / scale),
        start=(1.0, 2.0, 1.0),
    )
    if q <= 1:
        raise FitError(f"the spread of customers' means has no mean itself (q = {q:.3f}); expected q > 1.")
    return ValueModel(p, q, v * scale)


def _order_likelihood(r: float, alpha: float, a: float, b: float, customers: Histories) -> Floats:
    """Logarithm of the likelihood of each customer's history."""
    from scipy.special import betaln, gammaln

    x, recency, age = customers.repeats, customers.recency, customers.age
    orders = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    staying = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    left_after = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
    return np.asarray(orders + np.where(x > 0, np.logaddexp(staying, left_after), staying), np.float64)


def _value_likelihood(p: float, q: float, v: float, orders: Floats, means: Floats) -> Floats:
    """Logarithm of the likelihood of each customer's mean value."""
    from scipy.special import betaln

    shape = p * orders
    return np.asarray(
        -betaln(shape, q)
        + q * np.log(v)
        + (shape - 1) * np.log(means)
        + shape * np.log(orders)
        - (shape + q) * np.log(v + orders * means),
        np.float64,
    )


def _maximise(likelihood: Callable[[Floats], Floats], start: tuple[float, ...]) -> list[float]:
    """The positive parameters with the largest mean log-likelihood, searched on their logarithms."""
    from scipy.optimize import minimize

    def loss(logarithms: Floats) -> float:
        return float(-likelihood(np.exp(logarithms)).mean() + PENALTY * (logarithms**2).mean())

    precise = {"ftol": 1e-12, "gtol": 1e-8}
    bounds = [(-12.0, 12.0)] * len(start)
    found = minimize(loss, np.log(start), method="L-BFGS-B", bounds=bounds, options=precise)
    if not found.success:
        raise FitError(f"no maximum of the likelihood was found: {found.message}")
    return [float(value) for value in np.exp(found.x)]
