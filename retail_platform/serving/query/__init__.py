"""Questions to served tables: their form, what they may say, and the SQL they become."""
