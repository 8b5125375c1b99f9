"""CryptoStrings and the algorithms behind them (spec 02)."""
