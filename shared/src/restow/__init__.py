"""Restow: keeps an OpenStack cloud healthy and well arranged. What the four services agree on."""

__version__ = "0.1.0"
