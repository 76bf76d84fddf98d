"""Data that code of the user gives: arrays, batches in order, or rows on demand."""
