"""PostgreSQL: the embedded server, the connection, the bulk load of gold and the publishing of marts."""
