"""Why something in a plan moves, stays or waits: names, waits, servers and hosts in words; pure."""
