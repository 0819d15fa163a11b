"""Restow planner."""
