import polars as pl
import pytest

from retail_platform.reference.products import read_product_brands, read_product_families
from retail_platform.transforms.product_names import named

RULES = {"brand": read_product_brands(), "family": read_product_families()}


def names(kind: str, *descriptions: str | None) -> list[str | None]:
    frame = pl.DataFrame({"description": descriptions}, schema={"description": pl.String})
    return frame.select(named(pl.col("description"), RULES[kind]).alias("name"))["name"].to_list()


@pytest.mark.parametrize(
    ("description", "family"),
    [
        ("JUMBO BAG RED RETROSPOT", "Retrospot"),
        ("RETRO SPOT TEA SET CERAMIC 11 PC", "Retrospot"),
        ("Lunch Bag red spotty", "Retrospot"),
        ("BLUE SPOTTY CUP", "Spotty"),
        ("JUMBO BAG PAISLEY PARK", "Paisley Park"),
        ("PACK OF 12 PINK PAISLEY TISSUES", "Paisley"),
        ("NEW BAROQUE JEWELLERY BOX", "New Baroque"),
        ("ROLL WRAP 50'S RED CHRISTMAS", "50's Christmas"),
        ("CHRISTMAS TREE HANGING SILVER", None),
        ("WHITE METAL LANTERN", None),
        ("NUMBSKULLSY", None),
        ("", None),
        (None, None),
    ],
)
def test_a_family_is_what_the_description_names(description: str | None, family: str | None) -> None:
    assert names("family", description) == [family]


@pytest.mark.parametrize(
    ("description", "brand"),
    [
        ("TOMATO CHARLIE+LOLA COASTER SET", "Charlie and Lola"),
        ("CHARLIE & LOLA WASTEPAPER BIN BLUE", "Charlie and Lola"),
        ("CHARLIE LOLA BLUE HOT WATER BOTTLE", "Charlie and Lola"),
        ("F.FAIRY S/3 CANDLE/GLASS, ROSE", "Flower Fairies"),
        ("FLOWER FAIRY INCENSE LILY", "Flower Fairies"),
        ("FAIRY CAKE WICKER PICNIC BASKET", None),
        ("DR WHO TOP TRUMPS GAME", "Top Trumps"),
        ("T-REX MONEY BOX", None),
        ("PRICE'S CANDLE PEACH", "Price's"),
        (None, None),
    ],
)
def test_a_brand_is_what_the_description_names(description: str | None, brand: str | None) -> None:
    assert names("brand", description) == [brand]


def test_the_first_name_that_matches_counts() -> None:
    rules = pl.DataFrame({"family": ["Rose", "Rose Garden"], "pattern": [r"\bROSE\b", r"\bROSE GARDEN\b"]})
    frame = pl.DataFrame({"description": ["ROSE GARDEN MUG"]})

    assert frame.select(named(pl.col("description"), rules)).item() == "Rose"
    assert frame.select(named(pl.col("description"), rules.reverse())).item() == "Rose Garden"
