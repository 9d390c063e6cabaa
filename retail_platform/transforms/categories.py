"""Categories of products: a classifier that learns from labelled descriptions, and how good it is.

The packaged labels are read elsewhere (`reference/`) and passed in; a label is added there. How labels are given, and
why the threshold is what it is, says docs/categories.md. Brands and families stay out (`product_names.py`).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_platform.transforms.keys import surrogate_keys

UNCLASSIFIED = "unclassified"
"""Category and subcategory of a description that the classifier is not sure of."""
THRESHOLD = 0.65
"""Lowest confidence published: in steps of 0.05 the first at which 95 % of cross-validated categories are right."""
SET_ASIDE_EVERY = 5
"""One label in so many, by the hash of its description, is set aside."""
DECIMALS = 6
"""Of a confidence: sums in another order, as of one description and of many, differ in the sixteenth."""
FOLDS = 5
"""Parts of the cross-validation."""
CONFUSIONS = 5
"""How many of the most frequent are told."""

_TEMPERATURES = np.geomspace(0.1, 2, 61)
"""What is tried; nothing lower, for labels that are easy to tell apart must not make every guess sure."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Classifier:
    """What was learnt from the labels that are not set aside.

    Attributes:
        pairs: category and subcategory of each class, in the order of the subcategories' names.
        features: the fitted scikit-learn vectorizer of descriptions.
        machine: the fitted linear support vector machines, one a subcategory.
        temperature: what scores are divided by before they become probabilities.
        cross_validated: the guesses (as of `guess`) about each learnt label by a classifier that did not see it.
    """

    pairs: pl.DataFrame
    features: Any
    machine: Any
    temperature: float
    cross_validated: pl.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """How guesses compare with labels.

    Attributes:
        labels: how many were compared.
        category_accuracy: share of right categories among all guesses, sure or not; 0 to 1, as all shares here.
        subcategory_accuracy: the same for subcategories.
        coverage: share of labels with a confidence that is published.
        precision: share of right categories among those; NaN when there are none.
        subcategory_coverage: share of labels whose subcategory is published too.
        subcategory_precision: share of right subcategories among those.
        by_category: category, labels, recall (share published and right) and precision; by category.
        confusions: category, guessed_category and labels of what was published wrong; the most frequent first.
    """

    labels: int
    category_accuracy: float
    subcategory_accuracy: float
    coverage: float
    precision: float
    subcategory_coverage: float
    subcategory_precision: float
    by_category: pl.DataFrame
    confusions: pl.DataFrame


def with_parts(labels: pl.DataFrame) -> pl.DataFrame:
    """Add the part of the evaluation that each label belongs to, a function of its description alone.

    Args:
        labels: any rows with a column description.

    Returns:
        The rows in their order with is_set_aside and fold (0 to FOLDS - 1), by the surrogate key of the description.
    """
    keyed = surrogate_keys(labels, ("description",), "key")
    key = pl.col("key")
    parts = keyed.with_columns(is_set_aside=key % SET_ASIDE_EVERY == 0, fold=key // SET_ASIDE_EVERY % FOLDS)
    return parts.drop("key")


def train(labels: pl.DataFrame, temperature: float | None = None) -> Classifier:
    """Learn from the labels that are not set aside.

    Features are character n-grams within words (2 to 4) and words (1 to 2), weighted by TF-IDF; the machine is a linear
    support vector machine, one subcategory against the rest; probabilities are the softmax of its scores over a
    temperature that makes the guesses of the cross-validation likeliest (Guo et al., On Calibration of Modern Neural
    Networks, 2017, section 4.2). Equal labels, in any order, give an equal classifier.

    Args:
        labels: the packaged labels (`reference.products.read_product_labels`).
        temperature: that of an earlier training with these labels; the cross-validation is left out then, which takes
            five sixths of the time, and `cross_validated` has no rows.

    Raises:
        ValueError: the labels name fewer than three subcategories, or one in two categories; correct the labels.
    """
    learnt = with_parts(labels).filter(~pl.col("is_set_aside")).sort("description")
    pairs = learnt.select("category", "subcategory").unique().sort("subcategory")
    if len(pairs) < 3 or pairs["subcategory"].is_duplicated().any():
        raise ValueError(f"labels need three subcategories or more, each in one category; found {pairs.rows()}")
    judged = learnt if temperature is None else learnt.clear()
    scores = _out_of_fold(judged, pairs["subcategory"])
    if temperature is None:
        temperature = _temperature(scores, _positions(learnt["subcategory"], pairs["subcategory"]))
    guesses = _guesses(judged["description"], scores, temperature, pairs)
    return Classifier(pairs, *_fit(learnt), temperature, guesses)


def guess(classifier: Classifier, descriptions: pl.Series) -> pl.DataFrame:
    """The likeliest category of each description, and the likeliest subcategory in it, however unsure.

    Args:
        classifier: made by `train`.
        descriptions: texts; none of them null.

    Returns:
        description, category, category_confidence, subcategory, subcategory_confidence, in the order given. The
        confidence of a category is the sum of its subcategories' probabilities.
    """
    scores = _scores(classifier.features, classifier.machine, descriptions)
    return _guesses(descriptions, scores, classifier.temperature, classifier.pairs)


def published(guesses: pl.DataFrame, threshold: float = THRESHOLD) -> pl.DataFrame:
    """Withhold what a classifier is not sure of.

    Args:
        guesses: made by `guess`.
        threshold: the lowest confidence to publish, 0 to 1.

    Returns:
        The guesses with `unclassified` for a category, or a subcategory, whose confidence is below the threshold.
    """
    return guesses.with_columns(
        pl.when(pl.col(f"{level}_confidence") >= threshold).then(level).otherwise(pl.lit(UNCLASSIFIED)).alias(level)
        for level in ("category", "subcategory")
    )


def classify(classifier: Classifier, labels: pl.DataFrame, descriptions: pl.Series) -> pl.DataFrame:
    """The category of each description: that of its label where it has one, else the classifier's.

    Args:
        classifier: made by `train`.
        labels: the packaged labels, all of them.
        descriptions: texts in any order, repeated or null.

    Returns:
        One row per distinct text: description, category, subcategory, category_confidence (1 for a label) and
        is_labelled; ordered by description.
    """
    texts = descriptions.drop_nulls().unique().sort().alias("description")
    guesses = published(guess(classifier, texts))
    known = labels.select("description", pl.col("category", "subcategory").name.suffix("_labelled"))
    joined = guesses.join(known, on="description", how="left", maintain_order="left")
    is_labelled = pl.col("category_labelled").is_not_null()
    return joined.select(
        "description",
        pl.coalesce("category_labelled", "category").alias("category"),
        pl.coalesce("subcategory_labelled", "subcategory").alias("subcategory"),
        pl.when(is_labelled).then(1.0).otherwise("category_confidence").alias("category_confidence"),
        is_labelled.alias("is_labelled"),
    )


def evaluate(guesses: pl.DataFrame, labels: pl.DataFrame, threshold: float = THRESHOLD) -> Evaluation:
    """Compare guesses with labels.

    Args:
        guesses: made by `guess`, or those of the cross-validation.
        labels: the packaged labels; those without a guess do not count.
        threshold: the lowest confidence that is published.

    Raises:
        ValueError: no label has a guess.
    """
    truth = labels.select("description", pl.col("category", "subcategory").name.prefix("true_"))
    compared = guesses.join(truth, on="description").with_columns(
        is_right=pl.col("category") == pl.col("true_category"),
        is_subcategory_right=pl.col("subcategory") == pl.col("true_subcategory"),
        is_published=pl.col("category_confidence") >= threshold,
        is_subcategory_published=pl.col("subcategory_confidence") >= threshold,
    )
    if compared.is_empty():
        raise ValueError("no guess is about a labelled description")
    given = compared.filter("is_published")
    given_subcategory = compared.filter("is_subcategory_published")
    return Evaluation(
        labels=len(compared),
        category_accuracy=_share(compared["is_right"]),
        subcategory_accuracy=_share(compared["is_subcategory_right"]),
        coverage=_share(compared["is_published"]),
        precision=_share(given["is_right"]),
        subcategory_coverage=_share(compared["is_subcategory_published"]),
        subcategory_precision=_share(given_subcategory["is_subcategory_right"]),
        by_category=_by_category(compared),
        confusions=_confusions(given),
    )


def trade_off(guesses: pl.DataFrame, labels: pl.DataFrame, thresholds: list[float]) -> pl.DataFrame:
    """What each threshold would publish, and how much of that is right.

    Args:
        guesses: those of the cross-validation.
        labels: the packaged labels.
        thresholds: confidences, 0 to 1.

    Returns:
        threshold, coverage, precision, subcategory_coverage, subcategory_precision; a row each, in the order given.
    """
    columns = ("coverage", "precision", "subcategory_coverage", "subcategory_precision")
    found = ((threshold, evaluate(guesses, labels, threshold)) for threshold in thresholds)
    return pl.DataFrame([{"threshold": at} | {name: getattr(e, name) for name in columns} for at, e in found])


def figures(classifier: Classifier, labels: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """How good a classifier is, in what JSON can hold.

    Args:
        classifier: made by `train`.
        labels: the packaged labels, those it learnt from and those set aside.

    Returns:
        `cross_validation` and `set_aside`, each with the numbers of its `Evaluation` and the most frequent confusions.
    """
    aside = with_parts(labels).filter("is_set_aside")["description"]
    parts = {"cross_validation": classifier.cross_validated, "set_aside": guess(classifier, aside)}
    return {name: _figures(evaluate(guesses, labels)) for name, guesses in parts.items()}


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    numbers = {field.name: getattr(evaluation, field.name) for field in fields(evaluation)}
    frames = ("by_category", "confusions")
    confusions = evaluation.confusions.head(CONFUSIONS).to_dicts()
    return {name: value for name, value in numbers.items() if name not in frames} | {"confusions": confusions}


def _fit(labels: pl.DataFrame) -> tuple[Any, Any]:
    """The vectorizer and the machine, fitted to labels."""
    # scikit-learn takes seconds to import, which a load of the definitions need not pay.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion
    from sklearn.svm import LinearSVC

    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"[A-Za-z']+", sublinear_tf=True)
    features = FeatureUnion(
        [("characters", characters), ("words", words)], transformer_weights={"characters": 1.0, "words": 0.7}
    )
    machine = LinearSVC(C=1.0, random_state=0)
    machine.fit(features.fit_transform(labels["description"].to_list()), labels["subcategory"].to_list())
    return features, machine


def _scores(features: Any, machine: Any, descriptions: pl.Series) -> Matrix:
    """A row per description, a column per subcategory the machine knows, in their order."""
    if descriptions.is_empty():
        return np.empty((0, len(machine.classes_)))
    scores: Matrix = machine.decision_function(features.transform(descriptions.to_list()))
    return scores


def _out_of_fold(learnt: pl.DataFrame, subcategories: pl.Series) -> Matrix:
    """The scores of each label by a machine fitted to the other folds; -inf for what those do not hold."""
    scores = np.full((len(learnt), len(subcategories)), -np.inf)
    for fold in sorted(learnt["fold"].unique()):
        rows = (learnt["fold"] == fold).to_numpy()
        features, machine = _fit(learnt.filter(~rows))
        columns = _positions(pl.Series(machine.classes_.tolist()), subcategories)
        scores[np.ix_(rows, columns)] = _scores(features, machine, learnt["description"].filter(rows))
    return scores


def _positions(values: pl.Series, of: pl.Series) -> npt.NDArray[np.int64]:
    """Where each value stands among the distinct values of another series."""
    place = {value: position for position, value in enumerate(of)}
    return np.array([place[value] for value in values], dtype=np.int64)


def _probabilities(scores: Matrix, temperature: float) -> Matrix:
    """The softmax of each row over the temperature."""
    exponents = np.exp((scores - scores.max(axis=1, keepdims=True, initial=-np.inf)) / temperature)
    shares: Matrix = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def _temperature(scores: Matrix, truth: npt.NDArray[np.int64]) -> float:
    """The temperature, of a fixed grid, under which the truth is likeliest."""
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(_probabilities(scores, t)[rows, truth], 1e-12)).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _guesses(descriptions: pl.Series, scores: Matrix, temperature: float, pairs: pl.DataFrame) -> pl.DataFrame:
    """Category and subcategory of each row of scores; see `guess`."""
    by_subcategory = _probabilities(scores, temperature)
    categories = pairs["category"].unique().sort()
    home = _positions(pairs["category"], categories)
    by_category = by_subcategory @ np.eye(len(categories))[home]
    best = by_category.argmax(axis=1)
    inside = np.where(home == best[:, None], by_subcategory, -1.0)
    best_inside = inside.argmax(axis=1)
    return pl.DataFrame(
        {
            "description": descriptions,
            "category": categories.gather(best),
            "category_confidence": by_category.max(axis=1, initial=0.0).round(DECIMALS),
            "subcategory": pairs["subcategory"].gather(best_inside),
            "subcategory_confidence": inside.max(axis=1, initial=0.0).round(DECIMALS),
        }
    )


def _by_category(compared: pl.DataFrame) -> pl.DataFrame:
    right = pl.col("is_right") & pl.col("is_published")
    recalls = compared.group_by(pl.col("true_category").alias("category")).agg(
        pl.len().alias("labels"), right.mean().alias("recall")
    )
    given = compared.filter("is_published").group_by("category").agg(pl.col("is_right").mean().alias("precision"))
    return recalls.join(given, on="category", how="left").sort("category")


def _confusions(given: pl.DataFrame) -> pl.DataFrame:
    wrong = given.filter(~pl.col("is_right"))
    pairs = wrong.group_by(pl.col("true_category").alias("category"), pl.col("category").alias("guessed_category"))
    return pairs.agg(pl.len().alias("labels")).sort(
        "labels", "category", "guessed_category", descending=[True, False, False]
    )


def _share(holds: pl.Series) -> float:
    return float(holds.to_numpy().mean()) if len(holds) else float("nan")
