"""The read model: what the ledger's own indexes do not answer, computed from its entries, and the questions asked of both.

It is no part of the ledger: nothing is decided or verified by it, and ``voucher-ledger readmodel rebuild`` computes it again. It may be
behind, and the answers are still right: entries that it has not taken in yet are looked through one by one.
"""
