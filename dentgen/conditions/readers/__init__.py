"""Readers of condition shards: tar, Parquet, folders."""
