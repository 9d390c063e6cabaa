"""GraphQL over the served tables: one operation is one statement."""
