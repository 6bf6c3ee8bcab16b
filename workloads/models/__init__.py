"""One network a file, as a specification of layers and shapes."""
