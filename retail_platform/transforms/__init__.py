"""Pure functions on data frames: cleaning, rules, dimensions, facts. No I/O, no clock, no Dagster."""
