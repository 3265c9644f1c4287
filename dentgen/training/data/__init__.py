"""Training rows: records, order, batches."""
