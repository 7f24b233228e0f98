"""What touches the world: Bybit, the journal, the gate, Vault."""
