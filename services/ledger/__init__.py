"""The ledger: where it is decided, once and for good, whether an issue or a redemption stands. It knows no broker."""
