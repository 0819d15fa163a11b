"""Restow executor."""
