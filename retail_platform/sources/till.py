"""The till of an invented shop: invoices and their lines, a stretch of a day at a time, vectorised.

Files, days and deliveries stay out (`sample.py`); what is sold and to whom is in `shop.py`.
"""

from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_platform.sources import proportions as real
from retail_platform.sources.shop import ADDED_CODES, REMARKS, Assortment, Customers, Floats, Ints

COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
NOBODY = -1  # customer of a guest's invoice

SALE, GUEST, CANCEL, STOCK, ODD = range(5)  # kinds of invoices
_KIND_SHARES = np.array([real.SALES, real.GUESTS, real.CANCELS, real.STOCK], float)
_POST, _CARRIAGE, _DOTCOM = range(len(ADDED_CODES))
_COUNTRY_NAMES = pl.Series([name for name, _, _ in real.COUNTRIES])
_COUNTRY = {name: position for position, (name, _, _) in enumerate(real.COUNTRIES)}
_GUEST_COUNTRY_SHARES = np.cumsum([guests for _, _, guests in real.COUNTRIES]) / sum(g for _, _, g in real.COUNTRIES)
_FIRST_INVOICE = 489_434  # the real data's
_RECENT_LINES = 20_000  # lines kept for cancellations; 1 MiB, copied for each stretch

_INVOICE = np.dtype(
    [("kind", "i1"), ("size", "i8"), ("customer", "i8"), ("country", "i8"), ("odd", "i8"), ("cancels", "i8")]
)
_LINE = np.dtype(
    [(name, "i8") for name in ("invoice", "code", "description", "quantity", "price", "customer", "country")]
)
Records = npt.NDArray[np.void]
"""A structured array: of `_INVOICE` (cancels is a position among the recent lines or -1, odd a planned one's code or
-1) or of `_LINE` (invoice is its number; prices are in thousandths of a pound)."""


@dataclass(frozen=True)
class Stretch:
    """A part of a day: what its lines depend on.

    Attributes:
        day: the day.
        month: the sample's month that it is in, from 0.
        part: which part of the day, as shares of it from 0 to 1.
        lines: how many lines are due.
        at_most: how many lines there may be, as the sample ends there.
        planned: invoices that are due whatever chance says: odd codes, or countries behind them.
    """

    day: date
    month: int
    part: tuple[float, float]
    lines: int
    at_most: int
    planned: Ints


@dataclass
class Till:
    """Rings up invoices, in order of time.

    Attributes:
        rng: the sample's random numbers.
        assortment, customers: the shop.
        kept: share of invoices remembered for later cancellations.
        daily: lines remembered on an ordinary day, for the age of what is cancelled.
        recent: the lines remembered, oldest first.
        next_number: the next invoice number.
    """

    rng: np.random.Generator
    assortment: Assortment
    customers: Customers
    kept: float
    daily: float
    recent: Records = field(default_factory=lambda: np.zeros(0, _LINE))
    next_number: int = _FIRST_INVOICE

    @classmethod
    def for_size(cls, rng: np.random.Generator, assortment: Assortment, customers: Customers, daily: float) -> "Till":
        """A till for a shop that sells `daily` lines a day: it remembers about 100 days, of large shops a part."""
        kept = min(1.0, _RECENT_LINES / (daily * 100))
        return cls(rng, assortment, customers, kept, kept * daily)

    def ring_up(self, stretch: Stretch) -> pl.DataFrame:
        """The lines of a stretch.

        Returns:
            The eight columns of the published data in order of time, quantity and customer as numbers, the rest text.
            About `stretch.lines` lines (the last invoice is whole), never more than `stretch.at_most`.
        """
        invoices = self._invoices(stretch)
        owner = np.repeat(np.arange(len(invoices)), invoices["size"])
        starts = invoices["size"].cumsum() - invoices["size"]
        position = np.arange(len(owner)) - starts[owner]
        lines = self._lines(invoices, owner, position, stretch.month)
        lines["invoice"] = self.next_number + owner
        self._overwrite_last(lines, invoices, starts + invoices["size"] - 1)
        lines = lines[self._repeated(invoices, owner, position)]
        self._remember(lines, invoices, owner)
        self.next_number += len(invoices)
        return self._frame(lines, invoices, owner, stretch)

    def _invoices(self, stretch: Stretch) -> Records:
        """The stretch's invoices, planned ones among them, in order of time."""
        planned = self._planned_invoices(stretch.planned)
        chance = self._chance_invoices(int(stretch.lines / 15) + 50, stretch.month)
        invoices = np.concatenate([planned, chance])
        sums = invoices["size"].cumsum()
        last = min(max(int(np.searchsorted(sums, stretch.lines)), len(planned) - 1), len(sums) - 1)
        invoices = invoices[: last + 1]
        excess = int(sums[last]) - stretch.at_most
        while excess > 0:
            cut = min(excess, int(invoices["size"][-1]))
            invoices["size"][-1] -= cut
            excess -= cut
            invoices = invoices if invoices["size"][-1] else invoices[:-1]
        shuffled: Records = self.rng.permutation(invoices)
        return shuffled

    def _chance_invoices(self, count: int, month: int) -> Records:
        """Invoices as chance has it."""
        rng, invoices = self.rng, np.zeros(count, _INVOICE)
        shares = np.cumsum(_KIND_SHARES) / _KIND_SHARES.sum()
        kind = np.searchsorted(shares, rng.random(count), side="right")
        customer = np.searchsorted(self.customers.shares(month), rng.random(count), side="right")
        guest_country = np.searchsorted(_GUEST_COUNTRY_SHARES, rng.random(count), side="right")
        country = np.where(kind == GUEST, guest_country, self.customers.countries(customer, month))
        u = rng.random(count)
        sizes = [table.draw(u, smooth=True) for table in (real.SALE_LINES, real.GUEST_LINES, real.CANCEL_LINES)]
        invoices["kind"] = kind
        invoices["size"] = np.choose(kind, [*sizes, np.ones(count, np.int64)])
        invoices["customer"] = np.where((kind == GUEST) | (kind == STOCK), NOBODY, customer)
        invoices["country"] = np.where(kind == STOCK, _COUNTRY["United Kingdom"], country)
        invoices["odd"] = -1
        invoices["cancels"] = -1
        self._match_cancellations(invoices)
        return invoices

    def _match_cancellations(self, invoices: Records) -> None:
        """Point cancellations to remembered lines of one earlier invoice, and cut them to what it holds."""
        cancels = np.flatnonzero((invoices["kind"] == CANCEL) & (self.rng.random(len(invoices)) < real.CANCEL_MATCHED))
        age = self.rng.lognormal(np.log(real.CANCEL_LAG), real.CANCEL_LAG_SPREAD, len(cancels)) * self.daily
        start = len(self.recent) - 1 - age.astype(np.int64)
        cancels, start = cancels[start >= 0], start[start >= 0]
        numbers = self.recent["invoice"]
        begin = np.searchsorted(numbers, numbers[start])
        end = np.searchsorted(numbers, numbers[start], side="right")
        size = np.minimum(invoices["size"][cancels], end - begin)
        start = np.minimum(start, end - size)
        invoices["size"][cancels] = size
        invoices["cancels"][cancels] = start
        invoices["customer"][cancels] = self.recent["customer"][start]
        invoices["country"][cancels] = self.recent["country"][start]

    def _planned_invoices(self, planned: Ints) -> Records:
        """One invoice for each planned odd code or country."""
        invoices = np.zeros(len(planned), _INVOICE)
        odd = planned < len(real.ODD_CODES)
        country = np.where(odd, 0, planned - len(real.ODD_CODES))
        guest_only = np.array([sales < 1 for _, sales, _ in real.COUNTRIES])[country]
        odd_guests = np.array([code.guests for code in real.ODD_CODES])[np.where(odd, planned, 0)]
        guest = np.where(odd, self.rng.random(len(planned)) < odd_guests, guest_only)
        invoices["kind"] = np.where(odd, ODD, np.where(guest, GUEST, SALE))
        invoices["size"] = np.where(odd, 1, real.SALE_LINES.draw(self.rng.random(len(planned)), smooth=True))
        invoices["customer"] = np.where(guest, NOBODY, country)  # a country's first customer stands at its position
        invoices["country"] = country
        invoices["odd"] = np.where(odd, planned, -1)
        invoices["cancels"] = -1
        return invoices

    def _lines(self, invoices: Records, owner: Ints, position: Ints, month: int) -> Records:
        """Lines of products for every invoice, then those of other kinds over them."""
        lines, of = np.zeros(len(owner), _LINE), invoices[owner]
        lines["customer"], lines["country"] = of["customer"], of["country"]
        product = self._products(invoices["size"], owner, position, month)
        lines["code"] = product
        renamed = self.assortment.renamed[product] <= month
        lines["description"] = 1 + product + self.assortment.products * renamed
        lines["price"] = self.assortment.prices[month, product]
        guest = of["kind"] == GUEST
        lines["quantity"] = self._quantities(lines["price"], lines["customer"], guest) + _ordinals(owner, product)
        self._discount(lines, guest & (of["size"] >= real.WEBSITE_LINES))
        free = self.rng.random(len(lines)) < np.where(guest, real.FREE_GUEST, real.FREE_SALE)
        lines["price"][free & (of["kind"] != CANCEL)] = 0
        lines["code"] += self.assortment.products * (guest & (self.rng.random(len(lines)) < real.LOWER_CASE))
        self._cancel(lines, of, position)
        self._write_off(lines, of["kind"] == STOCK)
        self._sell_odd(lines, of["odd"])
        return lines

    def _products(self, sizes: Ints, owner: Ints, position: Ints, month: int) -> Ints:
        """Products by popularity; spread over the assortment so that an invoice seldom holds one twice by chance."""
        offset = self.rng.random(len(sizes))
        u = (offset[owner] + (position + self.rng.random(len(owner))) / sizes[owner]) % 1.0
        return np.searchsorted(self.assortment.popularity[month], u, side="right")

    def _quantities(self, price: Ints, customer: Ints, guest: npt.NDArray[np.bool_]) -> Ints:
        """Units: guests buy one or two, customers packs, more of what is cheap, each by appetite."""
        u = self.rng.random(len(price))
        hungry = u ** self.customers.appetite[customer]
        bands = [table.draw(hungry) for table in real.SALE_QUANTITY]
        sale = np.choose(np.digitize(price, real.PRICE_BANDS), bands)
        return np.where(guest, real.GUEST_QUANTITY.draw(u), sale)

    def _discount(self, lines: Records, retail: npt.NDArray[np.bool_]) -> None:
        """Turn list prices into those paid: less for many units, more on the website; whole pence."""
        u, bulk = self.rng.random(len(lines)), lines["quantity"] >= real.BULK_QUANTITY
        rebate = np.where(
            bulk,
            np.where(u < real.BULK_SHARE, real.BULK_FACTOR, 1),
            np.where(u < real.REBATE_SHARE, real.REBATE_FACTOR, 1),
        )
        website = real.RETAIL_FACTOR * np.where(u < real.RETAIL_HIGH_SHARE, real.RETAIL_HIGH_FACTOR, 1)
        lines["price"] = _pence(lines["price"] * np.where(retail, website, rebate))

    def _cancel(self, lines: Records, of: Records, position: Ints) -> None:
        """Make lines of cancellations negative, and matched ones a part or all of what was sold."""
        matched = of["cancels"] >= 0
        sold = self.recent[(of["cancels"] + position)[matched]]
        for name in ("code", "description", "price"):
            lines[name][matched] = sold[name]
        part = np.ceil(sold["quantity"] * self.rng.random(len(sold))).astype(np.int64)
        whole = self.rng.random(len(sold)) < real.CANCEL_WHOLE
        lines["quantity"][matched] = np.where(whole, sold["quantity"], np.maximum(part, 1))
        lines["quantity"][of["kind"] == CANCEL] *= -1

    def _write_off(self, lines: Records, stock: npt.NDArray[np.bool_]) -> None:
        """Make lines corrections of the stock: no price, mostly no description, mostly fewer units."""
        count = int(stock.sum())
        remark = self.assortment.first_remark + self.rng.integers(0, REMARKS, count)
        sign = np.where(self.rng.random(count) < real.STOCK_NEGATIVE, -1, 1)
        lines["price"][stock] = 0
        lines["quantity"][stock] = sign * real.STOCK_QUANTITY.draw(self.rng.random(count))
        lines["description"][stock] = np.where(self.rng.random(count) < real.STOCK_UNDESCRIBED, 0, remark)

    def _sell_odd(self, lines: Records, odd: Ints) -> None:
        """Make lines of planned invoices those of their codes."""
        which = np.flatnonzero(odd >= 0)
        code = odd[which]
        u = self.rng.random(len(which))
        cancelled = self.rng.random(len(which)) < np.array([entry.cancelled for entry in real.ODD_CODES])[code]
        lines["code"][which] = self.assortment.first_odd + len(ADDED_CODES) + code
        lines["description"][which] = self.assortment.first_odd_description + len(ADDED_CODES) + code
        lines["quantity"][which] = np.where(cancelled, -1, 1)
        for line, entry, x in zip(which, code, u, strict=True):
            price = _pence(np.interp(x, _FIVE, real.ODD_CODES[entry].prices))
            lines["price"][line] = price or 1  # PADS cost a tenth of a penny

    def _overwrite_last(self, lines: Records, invoices: Records, last: Ints) -> None:
        """Make the last line of some invoices their postage or carriage."""
        u, sale, country = self.rng.random(len(invoices)), invoices["kind"] == SALE, invoices["country"]
        eire = country == _COUNTRY["EIRE"]
        abroad = (country != _COUNTRY["United Kingdom"]) & ~eire
        website = (invoices["kind"] == GUEST) & (invoices["size"] >= real.WEBSITE_LINES)
        dotcom = _pence(np.interp(self.rng.random(len(invoices)), _FIVE, real.DOTCOM_POSTAGE))
        packets = self.rng.choice(real.POSTAGE_QUANTITY, len(invoices))
        for code, chosen, quantity, price in (
            (_POST, sale & abroad & (u < real.POSTED), packets, real.POSTAGE_PRICE),
            (_CARRIAGE, sale & eire & (u < real.CARRIED), np.ones_like(packets), real.CARRIAGE_PRICE),
            (_DOTCOM, website & (u < real.DOTCOM_POSTED), np.ones_like(packets), dotcom),
        ):
            at = last[chosen]
            lines["code"][at] = self.assortment.first_odd + code
            lines["description"][at] = self.assortment.first_odd_description + code
            lines["quantity"][at] = quantity[chosen]
            lines["price"][at] = np.broadcast_to(price, len(invoices))[chosen]

    def _repeated(self, invoices: Records, owner: Ints, position: Ints) -> Ints:
        """Positions of lines such that in some invoices some lines are those before them once more."""
        sold = (invoices["kind"] == SALE) | (invoices["kind"] == GUEST)
        careless = sold & (self.rng.random(len(invoices)) < real.REPEATING_INVOICES)
        repeats = careless[owner] & (position > 0) & (self.rng.random(len(owner)) < real.REPEATS)
        sources: Ints = np.arange(len(owner)) - repeats
        return sources

    def _remember(self, lines: Records, invoices: Records, owner: Ints) -> None:
        """Keep a share of what was sold for later cancellations; what is older makes room."""
        share = self.kept * np.choose(invoices["kind"], [1, real.CANCEL_GUESTS, 0, 0, 0])
        kept = (self.rng.random(len(invoices)) < share)[owner] & (lines["price"] > 0)
        self.recent = np.concatenate([self.recent, lines[kept]])[-_RECENT_LINES:]

    def _frame(self, lines: Records, invoices: Records, owner: Ints, stretch: Stretch) -> pl.DataFrame:
        """The lines as the columns of the published data."""
        numbers = pl.Series(np.arange(len(invoices)) + self.next_number - len(invoices)).cast(pl.String)
        negative = lines["quantity"][np.searchsorted(owner, np.arange(len(invoices)))] < 0
        cancelled = (invoices["kind"] == CANCEL) | ((invoices["kind"] == ODD) & negative)
        adjustment = invoices["odd"] == _ADJUSTMENT
        prefix = pl.Series(np.where(cancelled, "C", np.where(adjustment, "A", "")))
        values = (
            (prefix + numbers).gather(owner),
            self.assortment.codes.gather(lines["code"]),
            self.assortment.descriptions.gather(lines["description"]),
            pl.Series(lines["quantity"]),
            self._times(stretch, len(invoices)).gather(owner),
            pl.Series(lines["price"] / 1000).cast(pl.String).str.strip_suffix(".0"),
            self.customers.ids.gather(lines["customer"] + 1),
            _COUNTRY_NAMES.gather(lines["country"]),
        )
        return pl.DataFrame(dict(zip(COLUMNS, values, strict=True)))

    def _times(self, stretch: Stretch, count: int) -> pl.Series:
        """Times of `count` invoices in the stretch, rising, in whole minutes."""
        begin, end = stretch.part
        u = np.sort(begin + (end - begin) * self.rng.random(count))
        shares = np.cumsum([0, *real.HOUR_INVOICES]) / sum(real.HOUR_INVOICES)
        hours = np.interp(u, shares, [*real.HOURS, real.HOURS[-1] + 1])
        minutes = np.minimum(hours * 60, (real.HOURS[-1] + 1) * 60 - 1).astype("timedelta64[m]")
        return pl.Series(np.datetime64(stretch.day, "us") + minutes).dt.strftime("%Y-%m-%d %H:%M:%S")


_FIVE = (0.05, 0.25, 0.5, 0.75, 0.95)  # the quantiles that prices of odd codes are given at
_ADJUSTMENT = [entry.code for entry in real.ODD_CODES].index(real.ADJUSTMENT_CODE)


def _ordinals(owner: Ints, product: Ints) -> Ints:
    """How many lines before a line, without a gap, are of its invoice and product.

    Added to quantities, chance makes no exact repeats: those come in their own proportion.
    """
    at = np.arange(len(owner))
    differs = np.append(True, (np.diff(owner) != 0) | (np.diff(product) != 0))[: len(owner)]
    ordinals: Ints = at - np.maximum.accumulate(np.where(differs, at, 0))
    return ordinals


def _pence(thousandths: Floats) -> Ints:
    """Amounts rounded to whole pence, in thousandths."""
    return (np.round(thousandths / 10) * 10).astype(np.int64)
