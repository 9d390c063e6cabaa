"""Dagster's own instance: its storage on PostgreSQL (`storage`) and its home folder (`home`)."""
