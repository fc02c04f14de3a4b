"""Pure values and decisions: no clock, no dice, no log, no IO."""
