"""The three consumers: separate apps that read streams and share one verb, ``Ledger.append``. They do not know each other."""
