"""Numbers that say how much was forgotten and what it cost. One file a metric, no model inside."""
