"""Public instances and generated clouds to measure the planner against; read from a folder, never committed."""
