"""The REST face: routes under /api/v1 and /api/v2, each thin over the catalogue and the questions of `query/`."""
