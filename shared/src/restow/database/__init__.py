"""State in SQL: the engine, transactions that carry events, and the tables that all services share."""
