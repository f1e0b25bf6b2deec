"""Which strategy wins where, measured, and what the advice makes of it."""
