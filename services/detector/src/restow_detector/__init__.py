"""Restow detector."""
