"""Commands and what is behind them: packing, status, reports."""
