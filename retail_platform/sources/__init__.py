"""Where sales files come from when a retailer has none at hand: a generated sample, and the public UCI data set."""
