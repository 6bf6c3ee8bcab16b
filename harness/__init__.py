"""Runs and measures: plans trials, starts clean workers, reads meters, writes result documents."""

__version__ = "0.1.0"
