"""The proportions of a generated sample: figures of a real shop, each measured once.

Unless its line says otherwise, a figure was counted on *Online Retail II* (UCI 502, Chen 2012, CC BY 4.0), all rows but
the second copy of the nine days that both sheets hold: 1,044,848 lines of 53,628 invoices on 604 days. Kinds of
invoices there: `sale` (has a customer), `guest` (has none, has a price), `cancel` (prefix C), `stock` (every price 0).
How lines are made from these figures stays out (`shop.py`, `till.py`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LINES = 1_044_848  # all lines
OVERLAP = 22_523 / 1_067_371  # lines of the second copy of days that two deliveries hold, of all delivered lines
SALES, GUESTS, CANCELS, STOCK = 36_270, 3_107, 7_320, 5_254  # invoices by kind; sales and cancels less ODD_CODES
CUSTOMERS = 5_942  # distinct customers
PRODUCTS = 5_071  # distinct codes, upper case, that start with five digits

_STEPS = 20  # quantile tables hold the middles of 20 equal steps …
_TAIL = (0.95, 0.975, 0.99, 0.999, 1.0)  # … and, in place of the last, these quantiles


@dataclass(frozen=True)
class Quantiles:
    """A measured distribution: its quantiles at 1/40, 3/40 … 37/40, then at 0.95, 0.975, 0.99, 0.999 and 1."""

    body: tuple[float, ...]
    tail: tuple[float, ...]

    def draw(self, u: npt.NDArray[np.float64], *, smooth: bool = False) -> npt.NDArray[np.int64]:
        """Whole numbers of this distribution for uniform numbers, one for one.

        Args:
            u: uniform numbers in [0, 1).
            smooth: whether values between the measured ones occur below the tail.
        """
        middles = (np.arange(_STEPS - 1) + 0.5) / _STEPS
        if smooth:
            body = np.interp(u, [*middles, _TAIL[0]], [*self.body, self.tail[0]])
        else:
            body = np.array(self.body)[np.minimum((u * _STEPS).astype(np.int64), _STEPS - 2)]
        tail = np.exp(np.interp(u, _TAIL, np.log(self.tail)))
        return np.where(u < _TAIL[0], np.round(body), np.round(tail)).astype(np.int64)


# Lines of an invoice, by kind.
SALE_LINES = Quantiles((1, 1, 3, 4, 6, 7, 9, 11, 13, 14, 16, 18, 20, 23, 26, 30, 35, 43, 54), (64, 82, 109, 199, 542))
GUEST_LINES = Quantiles(
    (1, 1, 1, 1, 2, 3, 4, 6, 9, 14, 20, 28, 38, 51, 75, 132, 162, 193, 249), (332, 462, 559, 721, 1114)
)
CANCEL_LINES = Quantiles((1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5), (6, 10, 17, 39, 101))

# Units of a sale's product line, by its price: from 0, 0.50, 1, 2, 4 and 8 pounds.
PRICE_BANDS = (500, 1_000, 2_000, 4_000, 8_000)  # thousandths of a pound, chosen: powers of two around the median
SALE_QUANTITY = (
    Quantiles((1, 2, 2, 4, 6, 12, 12, 12, 12, 15, 24, 24, 24, 25, 25, 25, 36, 48, 72), (96, 200, 432, 3000, 19152)),
    Quantiles((1, 1, 1, 2, 2, 3, 4, 6, 8, 10, 12, 12, 12, 12, 12, 24, 24, 24, 36), (48, 96, 144, 600, 5000)),
    Quantiles((1, 1, 1, 2, 2, 3, 3, 4, 6, 8, 10, 10, 12, 12, 12, 12, 12, 24, 24), (48, 96, 144, 432, 4300)),  # but 2
    Quantiles((1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 6, 6, 8, 10, 12, 16), (24, 40, 72, 320, 3186)),  # but 1
    Quantiles((1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 6, 8, 12), (12, 24, 48, 300, 1412)),
    Quantiles((1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4, 4, 6), (9, 16, 24, 120, 540)),
)
GUEST_QUANTITY = Quantiles((1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6), (9, 14, 27, 131, 10200))
STOCK_QUANTITY = Quantiles(
    (1, 1, 2, 2, 4, 5, 7, 10, 12, 17, 21, 27, 35, 45, 60, 80, 108, 164, 288), (480, 1158, 3000, 9200, 12540)
)

# Price of a sale's product line, thousandths of a pound.
LIST_PRICE = Quantiles(
    (390, 420, 650, 850, 1060, 1250, 1250, 1450, 1650, 1690, 1950, 2100, 2550, 2950, 2950, 3750, 4950, 5950, 7950),
    (8500, 10750, 12750, 34950, 649500),
)
PRICE_CHANGE = 0.0276  # share of product-months (15 lines or more) whose usual price differs from the month before
PRICE_CHANGE_FACTORS = (0.29, 0.40, 1.04, 1.16, 1.30)  # that change, quantiles 0.1, 0.25, 0.5, 0.75, 0.9
BULK_QUANTITY = 50  # units; chosen: from there on most lines are below the month's usual price
BULK_SHARE, BULK_FACTOR = 0.76, 0.85  # share of such lines below the usual price, and how far below (median)
REBATE_SHARE, REBATE_FACTOR = 0.037, 0.86  # the same of smaller lines
RETAIL_FACTOR = 1.97  # median price of a guest's line to the usual price of a sale: the website's shoppers pay tax
RETAIL_HIGH_SHARE, RETAIL_HIGH_FACTOR = 0.15, 1.27  # share of those beyond 2.3 times, and the median there to 1.97
WEBSITE_LINES = 6  # chosen: guests' invoices from this size on are 58 % of them; 56 % have retail prices

SUFFIXED_PRODUCTS = 1_481 / 5_071  # codes of five digits that end in letters
SUFFIXED_WEIGHT = 0.34  # lines of such a code to those of a code without letters
LOWER_CASE = 0.09  # of guests' lines of such codes: the letter in lower case
FIRST_MONTH_PRODUCTS = 0.60  # 3,053 of 5,071 sell in the first month
ENDED_PRODUCTS = 0.45  # 2,234 of 4,992 priced codes sell for the last time more than a month before the end
PRODUCT_SPREAD = 1.1  # standard deviation of the logarithm of lines by code, fitted: the first 1 % has 11 % of lines
RENAMED_PRODUCTS = 622 / 4_892 / 0.6  # priced codes with two descriptions; 0.6 fitted: they sell before and after
TRAILING_SPACE, LEADING_SPACE, DOUBLED_SPACE = 0.199, 0.0025, 0.046  # of the lines of sales and guests

CANCEL_MATCHED = 0.95  # fitted: 16,179 of 19,164 cancelled lines follow a sale of as many units or more
CANCEL_WHOLE = 6_606 / 16_179  # of those: there is one of exactly as many units
CANCEL_LAG = 10.0  # days between the two, median
CANCEL_LAG_SPREAD = 1.5  # of their logarithm; gives quantiles 0.75 and 0.9 of 27 and 68 days, measured 30 and 83
CANCEL_GUESTS = 0.13  # a guest's line is cancelled as often as this to a sale's: 718 of 19,164 cancelled lines

STOCK_NEGATIVE = 3_393 / 5_315  # stock lines that write off
STOCK_UNDESCRIBED = 4_275 / 5_315  # stock lines without a description
FREE_GUEST, FREE_SALE = 648 / 229_256, 61 / 791_106  # other lines with a price of 0
REPEATING_INVOICES = 4_387 / 40_076  # invoices of sales and guests that hold exact repeats
REPEATS = 0.0113 / REPEATING_INVOICES  # lines of those that repeat the one before: 11,812 of all lines are repeats
CORRECTED_INVOICES = 0.03  # chosen: the real copies of days agree in every value, but a correction should be shown

POSTED = 0.617  # 1,767 of 2,861 sales abroad other than to EIRE have a line of postage
CARRIED = 180 / 567  # sales to EIRE with a line of carriage
DOTCOM_POSTED = 0.45 / 0.58  # guests' invoices from the website with a line of its postage
POSTAGE_PRICE, CARRIAGE_PRICE = 18_000, 50_000  # thousandths of a pound, median
DOTCOM_POSTAGE = (18_260, 68_510, 153_570, 231_790, 743_620)  # thousandths, quantiles 0.05, 0.25, 0.5, 0.75, 0.95
POSTAGE_QUANTITY = (1, 1, 1, 2, 2, 2, 3, 3, 4, 6)  # deciles; median 2, quantile 0.9 is 6

# Customers. The spread and stay were fitted so that the sample's orders by customer come out as measured: 27.6 % buy
# once, median 3 orders, 0.9: 13, 0.99: 46; the first tenth of customers holds 47 % of orders.
NEVER_BUYERS = 1.25  # customers drawn for each that buys, fitted
ORDER_SPREAD = 1.15  # standard deviation of the logarithm of a customer's orders a month, fitted
FIRST_MONTH_CUSTOMERS = 0.30  # customers there from the first day, fitted: 16 % buy in the first month
APPETITE_SPREAD = 0.3  # standard deviation of the logarithm of that, between equally frequent customers, fitted
APPETITE = 1.1  # exponent of the ordinary customer's draws, fitted: median 5 units, 0.95: 36
ARRIVAL = 1.4  # exponent of later arrivals over time, fitted: 27 % buy for the first time in the second year
STAY = 0.055  # share of customers that leave, each month, fitted: 950 of 5,878 buy in a month
BIG_BUYERS = 0.5  # how far a frequent customer buys more of a line, fitted: the first tenth spends 64 %
MOVED_CUSTOMERS = 13 / 5_942  # customers with two countries

# Lines of a day, by month (January first) and weekday (Monday first; the shop is closed on Saturdays).
MONTH_LINES = (1390, 1189, 1449, 1454, 1477, 1478, 1402, 1319, 1775, 2305, 3129, 2139)
WEEKDAY_LINES = (1970, 1862, 1724, 1924, 1531, 0, 1379)
DAY_SPREAD = 0.3  # standard deviation of the logarithm of a day's lines within month and weekday, about
HOURS = (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)  # of day
HOUR_INVOICES = (22, 110, 1150, 3520, 6030, 6628, 8097, 7163, 6519, 6168, 4167, 2544, 826, 581, 102)


class OddCode(NamedTuple):
    """A code that is no product, sold on an invoice of its own."""

    code: str
    description: str
    lines: int  # how many lines
    cancelled: float  # share of them on a cancellation
    guests: float  # share of them without a customer
    prices: tuple[int, ...]  # thousandths of a pound, quantiles 0.05, 0.25, 0.5, 0.75, 0.95


ODD_CODES = (
    OddCode("M", "Manual", 1398, 0.38, 0.22, (290, 1_250, 12_940, 355_200, 2_500_000)),
    OddCode("m", "Manual", 5, 0, 1, (2_550, 2_550, 2_550, 4_000, 4_000)),
    OddCode("D", "Discount", 173, 0.97, 0.02, (400, 9_870, 18_420, 48_000, 281_000)),
    OddCode("S", "SAMPLES", 102, 0.97, 1, (3_550, 8_770, 29_990, 77_000, 251_870)),
    OddCode("BANK CHARGES", " Bank Charges", 100, 0.66, 0.63, (15_000, 15_000, 39_240, 361_110, 612_460)),
    OddCode("ADJUST", "Adjustment by the office", 67, 0.46, 0.09, (10_500, 15_750, 49_350, 125_780, 358_470)),
    OddCode("ADJUST2", "Adjustment by the office, June", 3, 0, 0, (72_450, 72_450, 300_130, 358_470, 358_470)),
    OddCode("AMAZONFEE", "AMAZON FEE", 36, 0.92, 1, (219_760, 5_225_030, 5_942_570, 7_427_970, 16_888_020)),
    OddCode("CRUK", "CRUK Commission", 16, 1, 0, (1_600, 52_240, 447_560, 608_660, 1_100_440)),
    OddCode("PADS", "PADS TO MATCH ALL CUSHIONS", 19, 0.05, 0, (1, 1, 1, 1, 36_600)),
    OddCode("TEST001", "This is a test product.", 15, 0.2, 0.06, (4_500, 4_500, 4_500, 4_500, 4_500)),
    OddCode("TEST002", "This is a test product.", 2, 0, 0, (1_000, 1_000, 1_000, 1_000, 1_000)),
    OddCode("B", "Adjust bad debt", 6, 0, 1, (-53_594_360, -44_031_790, -24_993_970, -11_062_060, 11_062_060)),
    OddCode("SP1002", "KID'S CHALKBOARD/EASEL", 3, 0.33, 0.33, (2_950, 2_950, 2_950, 2_950, 2_950)),
    OddCode("C3", "CARRIAGE BY SEA", 1, 0, 1, (50_000, 50_000, 50_000, 50_000, 50_000)),
    OddCode("DCGS0058", "GUM OF MANY COLOURS", 80, 0.17, 1, (830, 1_250, 2_570, 4_210, 17_350)),
    OddCode("DCGSSGIRL", "PARTY BAG, GIRLS", 77, 0.17, 1, (830, 1_250, 3_360, 3_360, 3_360)),
    OddCode("gift_0001_10", "Shop Gift Voucher £10.00", 16, 0.02, 1, (8_550, 8_550, 8_550, 8_690, 10_000)),
    OddCode("gift_0001_20", "Shop Gift Voucher £20.00", 29, 0.02, 1, (16_670, 17_020, 17_020, 17_390, 17_390)),
    OddCode("gift_0001_30", "Shop Gift Voucher £30.00", 29, 0.02, 1, (25_000, 25_530, 25_530, 26_090, 26_090)),
    OddCode("gift_0001_50", "Shop Gift Voucher £50.00", 27, 0.02, 1, (41_670, 42_550, 42_550, 43_480, 43_480)),
)  # counts and quantiles as measured; descriptions and the gift vouchers' inner quantiles are our own

ADJUSTMENT_CODE = "B"  # its invoices start with A

COUNTRIES: tuple[tuple[str, float, int], ...] = (  # spelling, invoices of sales, of guests; 0.5 where there was none
    ("United Kingdom", 33_541, 2_993),
    ("Germany", 789, 0),
    ("France", 614, 8),
    ("EIRE", 567, 59),
    ("Netherlands", 228, 0),
    ("Spain", 154, 0),
    ("Belgium", 149, 0),
    ("Sweden", 104, 1),
    ("Australia", 95, 0),
    ("Portugal", 93, 2),
    ("Switzerland", 90, 3),
    ("Italy", 65, 0),
    ("Finland", 57, 0),
    ("Channel Islands", 55, 0),
    ("Norway", 45, 0),
    ("Austria", 45, 0),
    ("Denmark", 43, 0),
    ("Cyprus", 37, 0),
    ("Japan", 33, 0),
    ("Poland", 28, 0),
    ("USA", 20, 0),
    ("Greece", 18, 0),
    ("Unspecified", 16, 8),
    ("United Arab Emirates", 11, 5),
    ("Singapore", 11, 0),
    ("Malta", 9, 0),
    ("Canada", 8, 0),
    ("Iceland", 8, 0),
    ("Israel", 7, 3),
    ("Lithuania", 6, 0),
    ("Bahrain", 4, 6),
    ("European Community", 4, 0),
    ("RSA", 2, 2),
    ("Brazil", 2, 0),
    ("Thailand", 2, 0),
    ("Korea", 2, 0),
    ("Nigeria", 2, 0),
    ("Czech Republic", 2, 0),
    ("Lebanon", 1, 1),
    ("Saudi Arabia", 1, 0),
    ("West Indies", 1, 0),
    ("Hong Kong", 0.5, 15),
    ("Bermuda", 0.5, 1),
)
