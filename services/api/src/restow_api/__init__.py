"""Restow api."""
