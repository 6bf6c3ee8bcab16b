"""What energy costs: meters, their samples and the integration of them."""
