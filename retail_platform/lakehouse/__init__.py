"""The lake on disk: landing, the ledger of deliveries, their stages, and the Delta tables."""
