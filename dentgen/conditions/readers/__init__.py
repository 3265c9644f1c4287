"""Readers of condition shards in tar files, Parquet files and folders."""
