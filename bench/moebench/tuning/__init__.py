"""Tuning: Optuna asks, the same effort for every variant."""
