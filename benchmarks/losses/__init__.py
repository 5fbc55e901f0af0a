"""Losses that people use at boundaries, each tuned as long as the others, beside InverseForm: see docs/losses.md."""
