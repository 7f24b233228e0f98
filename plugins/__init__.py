"""Strategy plugins that ship with tradewright."""
