"""The sampler: reading sysfs files at due times without Python in between."""
