"""The native engine: the Python face of the C++ core."""
