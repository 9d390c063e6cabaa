"""The Dagster layer, thin: assets, checks, partitions, sensors, schedules, jobs, resources. No business logic."""
