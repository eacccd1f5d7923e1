"""The models: ordered SQL from scanned spans to the ledger."""
