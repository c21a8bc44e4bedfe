"""The benchmark: what the ledger does per second, beside the limit of the database and beside what else one would take.

``python -m benchmarks --help`` from the repository's root. Everything runs on servers of its own, with fsync, synchronous_commit
and the append-only file on.
"""
