"""The engines that train: torch (any torch device) and native (the C++ core)."""
