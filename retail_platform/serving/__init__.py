"""REST and GraphQL over the gold tables and marts in PostgreSQL: reads, never computes what a mart should hold."""
