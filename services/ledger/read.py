"""Reading a ledger: what a programme, an enterprise, a provider or a voucher stands at, and the entries that say why.

Every answer is of one moment: read in one transaction, from one snapshot. Amounts are fen here; what is printed is yuan.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final

import asyncpg

from schemas.policy import Policy
from services.ledger import queries
from services.ledger.append import ProgrammeUnknownError
from services.ledger.database import Connection
