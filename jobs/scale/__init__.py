"""What a run costs on this machine: processes side by side, and what its ledger asks of the storage."""
