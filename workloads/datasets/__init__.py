"""One data set a file; all of them end as record files that the worker reads by position."""
