"""A lakehouse for a retailer's sales: files land, Dagster builds Delta tables, dbt builds the marts."""
