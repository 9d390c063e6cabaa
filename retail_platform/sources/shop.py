"""The invented shop of a sample: what it sells at which price, who buys there, and when it is open.

All of it is drawn once from a sample's seed and size, and does not grow with the lines written. The invoices stay out
(`till.py`).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import holidays
import numpy as np
import numpy.typing as npt
import polars as pl

from retail_platform.sources import proportions as real

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# fmt: off
_COLOURS = (
    "AMBER", "AQUA", "BLUSH", "CHARCOAL", "COBALT", "COPPER", "CORAL", "CRIMSON", "FERN", "GINGER", "INDIGO", "JADE",
    "LEMON", "LILAC", "MOSS", "MUSTARD", "OCHRE", "PEARL", "PLUM", "RUST", "SAFFRON", "SAGE", "SLATE", "TEAL",
    "UMBER", "VIOLET",
)
_STYLES = (
    "ALPINE", "BADGER", "BOTANICAL", "BRAMBLE", "CHEVRON", "COASTAL", "COTTAGE GARDEN", "FOLK ART", "FOX AND HARE",
    "GINGHAM", "HARVEST", "HEDGEROW", "KEEPSAKE", "LACE EDGE", "LIGHTHOUSE", "MARKET DAY", "MEADOW", "NORDIC",
    "ORCHARD", "PADDOCK", "PUFFIN", "REGENCY", "ROWAN", "SAILCLOTH", "SCALLOPED", "SPECKLED", "THISTLE", "WOODLAND",
)
_GOODS = (
    "ALARM CLOCK", "APRON", "BISCUIT TIN", "BOOKENDS", "BUNTING", "CAKE STAND", "CANDLE HOLDER", "CERAMIC BOWL",
    "CHRISTMAS BAUBLE", "COASTERS", "CUSHION COVER", "DOOR WREATH", "DOORSTOP", "EGG CUP", "FAIRY LIGHTS",
    "GARDEN LANTERN", "GIFT WRAP", "GREETING CARD", "HAND WARMER", "HOT WATER BOTTLE", "JAM JAR", "JEWELLERY BOX",
    "KEY HOOKS", "LUNCH BAG", "MAGNETS", "MEASURING JUG", "MILK JUG", "MUG", "NAPKINS", "NECKLACE", "NOTEBOOK",
    "OVEN GLOVE", "PENCIL CASE", "PHOTO FRAME", "PICNIC BASKET", "PLANT POT", "PURSE", "RECIPE BOX", "RIBBON REEL",
    "SCENTED CANDLE", "SEWING KIT", "SHOPPER BAG", "SOAP DISH", "STATIONERY SET", "STORAGE TIN", "T-LIGHT HOLDER",
    "TEA TOWEL", "TEAPOT", "TOY BOX", "TRINKET BOX", "UMBRELLA", "WALL CLOCK", "WATERING CAN", "WIND CHIME",
)
# fmt: on
_REMARKS = ("?", "broken", "count", "counted", "damaged", "display", "found", "lost", "short", "wet", "wrong code")
_RESERVED = {22016, 23444}  # a gift voucher and a postage among the five-digit codes
_FIRST_CUSTOMER = 12_346  # the smallest customer number of the real data


@dataclass(frozen=True)
class Assortment:
    """What can stand on a line, by position.

    Attributes:
        products: how many products; they come first among the codes, then again with their letters in lower case.
        codes: stock codes: products, products in lower case, the odd codes.
        descriptions: null, the products' first texts, their second texts, the odd codes' texts, remarks on stock.
        prices: list price by month and product, thousandths of a pound.
        renamed: by product, the month from which its second text holds.
        popularity: by month, the cumulated shares of products in lines.
    """

    products: int
    codes: pl.Series
    descriptions: pl.Series
    prices: Ints
    renamed: Ints
    popularity: Floats

    @property
    def first_odd(self) -> int:
        """Position of the first odd code among the codes."""
        return 2 * self.products

    @property
    def first_odd_description(self) -> int:
        """Position of the first odd code's text among the descriptions."""
        return 1 + 2 * self.products

    @property
    def first_remark(self) -> int:
        """Position of the first remark among the descriptions."""
        return self.first_odd_description + len(ODD_TEXTS)


# Codes that are added to invoices of products come first, then those on invoices of their own.
ADDED_CODES = (("POST", "POSTAGE"), ("C2", "CARRIAGE"), ("DOT", "DOTCOM POSTAGE"))
ODD_TEXTS = (*ADDED_CODES, *((odd.code, odd.description) for odd in real.ODD_CODES))
REMARKS = len(_REMARKS)


def draw_assortment(rng: np.random.Generator, lines: int, months: int) -> Assortment:
    """The shop's products over all months.

    Args:
        rng: the sample's random numbers.
        lines: how many lines the sample has; the assortment grows with its root, up to the real one's size.
        months: how many calendar months the sample touches.
    """
    count = int(np.clip(real.PRODUCTS * (lines / real.LINES) ** 0.5, 300, real.PRODUCTS))
    suffixed = rng.random(count) < real.SUFFIXED_PRODUCTS
    codes = _product_codes(rng, suffixed)
    first, second = _descriptions(rng, count)
    renamed = np.where(rng.random(count) < real.RENAMED_PRODUCTS, rng.integers(1, months + 1, count), months)
    return Assortment(
        products=count,
        codes=pl.Series([*codes, *(code.lower() for code in codes), *(code for code, _ in ODD_TEXTS)]),
        descriptions=pl.Series([None, *first, *second, *(text for _, text in ODD_TEXTS), *_REMARKS]),
        prices=_prices(rng, count, months),
        renamed=renamed,
        popularity=_popularity(rng, suffixed, months),
    )


def _product_codes(rng: np.random.Generator, suffixed: npt.NDArray[np.bool_]) -> list[str]:
    """Five digits a product; those with letters come in families of three with the same digits."""
    numbers = (number for number in rng.permutation(np.arange(10_000, 91_000)).tolist() if number not in _RESERVED)
    family = (f"{number}{letter}" for number in numbers for letter in "ABC")
    return [next(family) if letters else str(next(numbers)) for letters in suffixed]


def _descriptions(rng: np.random.Generator, count: int) -> tuple[list[str], list[str]]:
    """Two texts a product, the second with its words in another order; spaces as careless as in the real ones."""
    picks = rng.choice(len(_COLOURS) * len(_STYLES) * len(_GOODS), count, replace=False)
    colour, rest = np.divmod(picks, len(_STYLES) * len(_GOODS))
    style, good = np.divmod(rest, len(_GOODS))
    words = [(_COLOURS[c], _STYLES[s], _GOODS[g]) for c, s, g in zip(colour, style, good, strict=True)]
    shares = (real.LEADING_SPACE, real.DOUBLED_SPACE, real.TRAILING_SPACE)
    careless = (rng.random((count, 3)) < shares).astype(int).tolist()
    first, second = [], []
    for (c, s, g), (leading, doubled, trailing) in zip(words, careless, strict=True):
        before, between, after = " " * leading, " " * (1 + doubled), " " * trailing
        first.append(f"{before}{c}{between}{s} {g}{after}")
        second.append(f"{before}{g}{between}{s} {c}{after}")
    return first, second


def _prices(rng: np.random.Generator, count: int, months: int) -> Ints:
    """List prices by month: a first price, and now and then a step to another one, a multiple of 5 pence."""
    price = real.LIST_PRICE.draw(rng.random(count))
    rows = [price]
    for _ in range(months - 1):
        factor = np.interp(rng.random(count), (0.1, 0.25, 0.5, 0.75, 0.9), real.PRICE_CHANGE_FACTORS)
        changed = np.maximum(np.round(price * factor / 50) * 50, 100).astype(np.int64)
        price = np.where(rng.random(count) < real.PRICE_CHANGE, changed, price)
        rows.append(price)
    return np.stack(rows)


def _popularity(rng: np.random.Generator, suffixed: npt.NDArray[np.bool_], months: int) -> Floats:
    """By month, the cumulated shares of products: heavy-tailed, products come and go, one is there all the time."""
    count = len(suffixed)
    weight = np.exp(rng.normal(0, real.PRODUCT_SPREAD, count)) * np.where(suffixed, real.SUFFIXED_WEIGHT, 1)
    launched = np.where(rng.random(count) < real.FIRST_MONTH_PRODUCTS, 0, rng.integers(0, months, count))
    ended = np.where(rng.random(count) < real.ENDED_PRODUCTS, rng.integers(launched, months), months)
    launched[0], ended[0] = 0, months
    month = np.arange(months)[:, None]
    return _cumulated(weight * ((launched <= month) & (month <= ended)))


def _cumulated(weights: Floats) -> Floats:
    """Weights as cumulated shares along the last axis."""
    sums = weights.cumsum(axis=-1)
    shares: Floats = sums / sums[..., -1:]
    return shares


@dataclass(frozen=True)
class Customers:
    """Who buys, by position; the first customers are one for each country, there all the time.

    Attributes:
        ids: null for a guest, then the customers' numbers: one further than the other arrays.
        country: position in `real.COUNTRIES` before the customer moves, `moved_to` from month `moved_in` on.
        appetite: 1 for the ordinary customer, smaller for one who buys more of a line.
        rate: orders a month, relative.
        arrived, left: first and last month.
    """

    ids: pl.Series
    country: Ints
    moved_to: Ints
    moved_in: Ints
    appetite: Floats
    rate: Floats
    arrived: Ints
    left: Ints

    def shares(self, month: int) -> Floats:
        """The cumulated shares of customers in the orders of a month."""
        return _cumulated(self.rate * ((self.arrived <= month) & (month <= self.left)))

    def countries(self, customers: Ints, month: int) -> Ints:
        """The countries of customers (positions) in a month, one for one."""
        moved = self.moved_in[customers] <= month
        return np.where(moved, self.moved_to[customers], self.country[customers])


def draw_customers(rng: np.random.Generator, lines: int, months: int) -> Customers:
    """The shop's customers over all months, as many to a line as in the real data.

    Args:
        rng: the sample's random numbers.
        lines: how many lines the sample has.
        months: how many calendar months the sample touches.
    """
    founders = len(real.COUNTRIES)
    count = founders + round(real.NEVER_BUYERS * real.CUSTOMERS * lines / real.LINES)
    size = rng.normal(0, 1, count)
    size[:founders] = -2  # rare buyers, so that their countries keep their shares
    later = (months * rng.random(count) ** real.ARRIVAL).astype(np.int64)
    arrived = np.where(rng.random(count) < real.FIRST_MONTH_CUSTOMERS, 0, later)
    arrived[:founders] = 0
    left = arrived + rng.geometric(real.STAY, count)
    left[:founders] = months
    rate = np.exp(real.ORDER_SPREAD * size)
    country = _countries(rate * (np.minimum(left, months) - arrived + 1), rng)
    country[:founders] = np.arange(founders)
    moves = rng.random(count) < real.MOVED_CUSTOMERS
    return Customers(
        ids=pl.Series([None, *(rng.permutation(count) + _FIRST_CUSTOMER).tolist()]),
        country=country,
        moved_to=rng.permutation(country),
        moved_in=np.where(moves, rng.integers(0, months + 1, count), months + 1),
        appetite=real.APPETITE
        * np.exp(-real.BIG_BUYERS * (size - real.ORDER_SPREAD) + rng.normal(0, real.APPETITE_SPREAD, count)),
        rate=rate,
        arrived=arrived,
        left=left,
    )


def _countries(weights: Floats, rng: np.random.Generator) -> Ints:
    """A country for each customer, such that each country's share of the weights is as measured."""
    order = rng.permutation(len(weights))
    shares = _cumulated(np.array([sales for _, sales, _ in real.COUNTRIES]))
    middles = (weights[order].cumsum() - weights[order] / 2) / weights.sum()
    countries = np.empty(len(weights), np.int64)
    countries[order] = np.searchsorted(shares, middles)
    return countries


def opening_days(rng: np.random.Generator, start: date, days: int) -> tuple[list[date], Floats]:
    """The days with sales and the share of lines of each.

    Closed are Saturdays, English bank holidays, Easter Sunday and 24 December to 3 January, as in the real data.

    Args:
        rng: the sample's random numbers.
        start: the first calendar day.
        days: how many calendar days.

    Raises:
        ValueError: the shop is closed on every one of the days.
    """
    england = holidays.country_holidays("GB", subdiv="ENG", years=range(start.year, start.year + days // 365 + 2))
    calendar = (start + timedelta(i) for i in range(days))
    opened = [day for day in calendar if not _closed(day, england)]
    if not opened:
        raise ValueError(f"no day of the {days} from {start} on has sales (weekends, holidays); choose more days")
    usual = np.array([real.MONTH_LINES[day.month - 1] * real.WEEKDAY_LINES[day.weekday()] for day in opened])
    weights = usual * np.exp(rng.normal(0, real.DAY_SPREAD, len(opened)))
    return opened, weights / weights.sum()


def _closed(day: date, england: holidays.HolidayBase) -> bool:
    year_end = (day.month, day.day) >= (12, 24) or (day.month, day.day) <= (1, 3)
    easter_sunday = "Easter" in england.get(day + timedelta(1), "")
    return real.WEEKDAY_LINES[day.weekday()] == 0 or year_end or easter_sunday or day in england
