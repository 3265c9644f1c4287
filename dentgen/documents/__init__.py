"""What dentgen writes as JSON: ledger, lease, sample metadata, index."""
