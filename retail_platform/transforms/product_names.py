"""The brand and the family that a product's description names.

The packaged patterns are read elsewhere (`reference/`) and passed in; a name is added there, not here. Categories,
which are learnt, stay out (`categories.py`).
"""

import polars as pl


def named(descriptions: pl.Expr, rules: pl.DataFrame) -> pl.Expr:
    """The first name whose pattern a description matches.

    Args:
        descriptions: an expression of texts; case does not matter.
        rules: the packaged brands or families: name, then pattern (of upper-case text), in the order they are tried.

    Returns:
        An expression of names; null where the description is null or names none.
    """
    upper = descriptions.str.to_uppercase()
    names = (pl.when(upper.str.contains(pattern)).then(pl.lit(name)) for name, pattern in rules.iter_rows())
    return pl.coalesce(*names)
