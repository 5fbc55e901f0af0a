"""The six stages of the pipeline: a plain function each, and three lines of command line."""
