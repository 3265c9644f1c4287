"""Output shards: tar bytes, the ledger of committed units, the index, verification."""
