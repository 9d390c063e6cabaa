"""The classifier on the packaged labels, on a handful of invented ones, and its measures worked out by hand.

Accuracy is computed a second time by scikit-learn's own cross-validation and plain Python, which share the features'
and the machine's parameters with the code, and the folds, but nothing else.
"""

import json
import math
from collections import Counter

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from retail_platform.reference.products import read_product_labels
from retail_platform.transforms.categories import (
    THRESHOLD,
    UNCLASSIFIED,
    Classifier,
    Evaluation,
    classify,
    evaluate,
    figures,
    guess,
    published,
    trade_off,
    train,
    with_parts,
)

LABELS = read_product_labels()
SET_ASIDE = LABELS.filter("is_set_aside")

GOODS = {"MUG": ("Dining", "Mugs"), "PLATE": ("Dining", "Plates"), "NECKLACE": ("Jewellery", "Necklaces")}
COLOURS = ("RED", "BLUE", "GREEN", "PINK", "WHITE", "BLACK", "IVORY", "SILVER", "GOLD", "PURPLE", "AMBER", "GREY")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train(LABELS)


@pytest.fixture(scope="module")
def set_aside(classifier: Classifier) -> Evaluation:
    return evaluate(guess(classifier, SET_ASIDE["description"]), LABELS)


def few_labels() -> pl.DataFrame:
    """A dozen of each of three kinds of goods, two of which share a category."""
    rows = [(f"{colour} {thing}", *pair) for thing, pair in GOODS.items() for colour in COLOURS]
    return pl.DataFrame(rows, schema=["description", "category", "subcategory"], orient="row")


def guesses(*rows: tuple[str, str, float, str, float]) -> pl.DataFrame:
    columns = ["description", "category", "category_confidence", "subcategory", "subcategory_confidence"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_what_the_labels_teach_is_told_of_new_descriptions() -> None:
    few = train(few_labels())

    told = published(guess(few, pl.Series(["TEAL MUG", "TEAL SHELL NECKLACE", "zzqq"])), threshold=0.5)

    assert told.select("category", "subcategory").rows() == [
        ("Dining", "Mugs"),
        ("Jewellery", "Necklaces"),
        ("Dining", UNCLASSIFIED),  # two of the three subcategories are, so it may well be that
    ]


def test_the_category_can_be_sure_where_the_subcategory_is_not() -> None:
    few = train(few_labels())

    (row,) = published(guess(few, pl.Series(["TEAL MUG PLATE"])), threshold=0.8).iter_rows(named=True)

    assert (row["category"], row["subcategory"]) == ("Dining", UNCLASSIFIED)


@pytest.mark.parametrize("text", ["", "?", "12345", "XQZV WKJJ PLORP", "qwrtzp"])
def test_what_resembles_no_label_stays_unclassified(classifier: Classifier, text: str) -> None:
    told = published(guess(classifier, pl.Series([text])))

    assert told.select("category", "subcategory").row(0) == (UNCLASSIFIED, UNCLASSIFIED)


def test_no_description_is_no_guess(classifier: Classifier) -> None:
    assert guess(classifier, pl.Series([], dtype=pl.String)).is_empty()


def test_a_label_is_right_whatever_the_classifier_says() -> None:
    odd = few_labels().with_columns(
        category=pl.when(pl.col("description") == "RED MUG").then(pl.lit("Jewellery")).otherwise("category"),
        subcategory=pl.when(pl.col("description") == "RED MUG").then(pl.lit("Necklaces")).otherwise("subcategory"),
    )

    told = classify(train(odd), odd, pl.Series(["TEAL NECKLACE", "RED MUG", None, "RED MUG"]))

    assert told.select("description", "category", "subcategory", "is_labelled").rows() == [
        ("RED MUG", "Jewellery", "Necklaces", True),
        ("TEAL NECKLACE", "Jewellery", "Necklaces", False),
    ]
    assert told["category_confidence"][0] == 1


def test_equal_labels_in_any_order_give_equal_guesses() -> None:
    labels = LABELS.filter(pl.col("category").is_in(["Dining", "Kitchen", "Party"]))
    one, other = train(labels), train(labels.reverse())

    assert one.temperature == other.temperature
    assert_frame_equal(one.cross_validated, other.cross_validated, check_exact=True)
    texts = SET_ASIDE["description"]
    assert_frame_equal(guess(one, texts), guess(other, texts), check_exact=True)


def test_one_by_one_or_together_is_the_same(classifier: Classifier) -> None:
    texts = SET_ASIDE["description"].head(60)

    singly = pl.concat(guess(classifier, pl.Series("description", [text])) for text in texts)

    assert_frame_equal(singly, guess(classifier, texts), check_exact=True)


def test_a_temperature_that_is_known_gives_the_same_guesses(classifier: Classifier) -> None:
    again = train(LABELS, classifier.temperature)

    assert again.cross_validated.is_empty()
    texts = SET_ASIDE["description"]
    assert_frame_equal(guess(again, texts), guess(classifier, texts), check_exact=True)


def test_figures_are_those_of_both_evaluations_and_survive_json(classifier: Classifier, set_aside: Evaluation) -> None:
    found = json.loads(json.dumps(figures(classifier, LABELS)))

    assert found["set_aside"]["category_accuracy"] == set_aside.category_accuracy
    assert found["set_aside"]["confusions"] == set_aside.confusions.head(5).to_dicts()
    assert found["cross_validation"]["labels"] + found["set_aside"]["labels"] == len(LABELS)
    assert "by_category" not in found["set_aside"]


def test_labels_that_are_set_aside_teach_nothing() -> None:
    parts = with_parts(few_labels())
    wrong = pl.when(parts["is_set_aside"]).then(pl.lit("Mugs"))
    spoilt = parts.with_columns(category=wrong.replace("Mugs", "Dining").fill_null(parts["category"]))
    spoilt = spoilt.with_columns(subcategory=wrong.fill_null(parts["subcategory"])).drop("is_set_aside", "fold")

    assert parts["is_set_aside"].any()
    assert_frame_equal(train(spoilt).cross_validated, train(few_labels()).cross_validated, check_exact=True)


@pytest.mark.parametrize(
    "labels",
    [
        few_labels().filter(pl.col("category") == "Dining"),
        few_labels().with_columns(category=pl.lit("Dining") + pl.col("description").str.slice(0, 1)),
    ],
    ids=["two subcategories", "one in several categories"],
)
def test_labels_that_cannot_teach_are_refused(labels: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="three subcategories or more, each in one category"):
        train(labels)


def test_the_measures_by_hand() -> None:
    labels = pl.DataFrame(
        [("a", "X", "x1"), ("b", "X", "x2"), ("c", "Y", "y1"), ("d", "Y", "y1"), ("e", "Y", "y1")],
        schema=["description", "category", "subcategory"],
        orient="row",
    )
    told = guesses(
        ("a", "X", 0.9, "x1", 0.9),  # right
        ("b", "X", 0.9, "x1", 0.5),  # right category, wrong subcategory that is not published
        ("c", "X", 0.8, "x1", 0.8),  # wrong
        ("d", "Y", 0.4, "y1", 0.4),  # right, not published
        ("not labelled", "Y", 0.9, "y1", 0.9),
    )

    measured = evaluate(told, labels, threshold=0.7)

    assert measured.labels == 4
    assert (measured.category_accuracy, measured.subcategory_accuracy) == (3 / 4, 2 / 4)
    assert (measured.coverage, measured.precision) == (3 / 4, 2 / 3)
    assert (measured.subcategory_coverage, measured.subcategory_precision) == (2 / 4, 1 / 2)
    assert measured.by_category.rows() == [("X", 2, 1.0, 2 / 3), ("Y", 2, 0.0, None)]
    assert measured.confusions.rows() == [("Y", "X", 1)]


def test_nothing_published_has_no_precision() -> None:
    labels = few_labels()
    told = guesses(("RED MUG", "Dining", 0.3, "Mugs", 0.2))

    assert math.isnan(evaluate(told, labels).precision)
    with pytest.raises(ValueError, match="no guess"):
        evaluate(told.clear(), labels)


def test_accuracy_beats_the_most_frequent_category_by_far(set_aside: Evaluation) -> None:
    majority = Counter(SET_ASIDE["category"]).most_common(1)[0][1] / len(SET_ASIDE)

    assert majority < 0.2
    assert set_aside.labels == len(SET_ASIDE)
    assert set_aside.category_accuracy > 0.84
    assert set_aside.subcategory_accuracy > 0.81
    assert set_aside.coverage > 0.74
    assert set_aside.precision > 0.94


def test_the_threshold_is_the_first_at_which_19_of_20_are_right(classifier: Classifier) -> None:
    steps = [step / 20 for step in range(20)]

    tradeoff = trade_off(classifier.cross_validated, LABELS, steps)

    assert tradeoff.filter(pl.col("precision") >= 0.95)["threshold"].min() == THRESHOLD
    assert tradeoff["coverage"].is_sorted(descending=True)


def test_a_confidence_is_a_probability(classifier: Classifier) -> None:
    told = classifier.cross_validated
    measured = evaluate(told, LABELS)

    assert told["category_confidence"].is_between(0, 1 + 1e-9).all()
    assert (told["subcategory_confidence"] <= told["category_confidence"] + 1e-9).all()
    assert told["category_confidence"].to_numpy().mean() == pytest.approx(measured.category_accuracy, abs=0.04)


def test_cross_validated_accuracy_equals_a_second_computation(classifier: Classifier) -> None:
    learnt = with_parts(LABELS).filter(~pl.col("is_set_aside"))
    home = dict(LABELS.select("subcategory", "category").iter_rows())
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"[A-Za-z']+", sublinear_tf=True)
    union = make_union(characters, words).set_params(transformer_weights={"tfidfvectorizer-2": 0.7})
    pipeline = make_pipeline(union, LinearSVC(C=1.0, random_state=0))
    truth = learnt["subcategory"].to_list()
    folds = PredefinedSplit(learnt["fold"].to_numpy())
    scores = cross_val_predict(pipeline, learnt["description"].to_list(), truth, cv=folds, method="decision_function")

    right = 0
    published_right = []
    for row, subcategory in zip(scores.tolist(), truth, strict=True):
        shares = dict.fromkeys(home.values(), 0.0)
        for name, score in zip(sorted(set(truth)), row, strict=True):
            shares[home[name]] += math.exp(score / classifier.temperature)
        category, share = max(shares.items(), key=lambda item: item[1])
        right += category == home[subcategory]
        if share / sum(shares.values()) >= THRESHOLD:
            published_right.append(category == home[subcategory])

    measured = evaluate(classifier.cross_validated, LABELS)
    assert measured.category_accuracy == right / len(truth)
    assert measured.coverage == len(published_right) / len(truth)
    assert measured.precision == pytest.approx(sum(published_right) / len(published_right))
