"""The durable shells around the domain; no rules of their own."""
