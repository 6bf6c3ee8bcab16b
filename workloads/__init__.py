"""What is trained: models, data sets, recipes, the memory model and the engines."""
