"""Connections to PostgreSQL: how the services connect, and which failures pass by themselves."""

import asyncio
import contextlib
import socket
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection, of a pool or on its own."""

SERVICE_ROLE: Final = "voucher_ledger_service"
"""What every service acts as: it may read and append, and change nothing that was written."""

CONNECT_TIMEOUT_SECONDS: Final = 10
COMMAND_TIMEOUT_SECONDS: Final = 90
_WRITE_BUFFER_BYTES: Final = 2**20
_TRANSACTION_TIMEOUT_SINCE: Final = 17

_SETTINGS: Final = {
    "role": SERVICE_ROLE,
    "application_name": "voucher-ledger",
    "timezone": "UTC",
    # Every query of the service has its index; a plan made while a table was small must not outlive that.
    "enable_seqscan": "off",
    # Nor one that gathers what an index gives in the order asked for, sorts it, and throws all but the first few away.
    "enable_bitmapscan": "off",
    "jit": "off",
    # A stopped process that holds a programme's head is cut off, so that another can go on.
    "idle_in_transaction_session_timeout": "15s",
    "synchronous_commit": "on",
    # What waits longer than this waits for something that will not come; the client's own limit is behind it.
    "statement_timeout": "60s",
}

TRANSIENT: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectInUseError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.PostgresIOError,
)
"""Failures that pass by themselves: the server or the way to it is away, or two transactions met. Back off, try again."""

_EVENT_AT_FAULT: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


def is_of_the_database(error: BaseException) -> bool:
    """Whether a failure is the database's, and not one that this very event makes each time.

    A lost right or a missing table is nothing that an event should pay for: its batch waits until someone mends it.
    """
    if isinstance(error, _EVENT_AT_FAULT):
        return False
    return isinstance(error, (*TRANSIENT, asyncpg.PostgresError))


class _Connection(asyncpg.Connection):
    """A connection whose buffers take a batch: nobody waits for the server to take one part before the next is decided."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any, **named: Any) -> None:
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        # What the kernel grants of it keeps the server busy while this process is.
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WRITE_BUFFER_BYTES)
        super().__init__(protocol, transport, *rest, **named)


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    if connection.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        await connection.execute("SET transaction_timeout = '60s'")


async def _leave_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Give a connection back: the service changes no setting of a session, so there is nothing to take back each time."""


async def connect_once(database_url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection of the service's, for what belongs to a session. Raises as ``connect`` does."""
    connection = await asyncpg.connect(
        database_url,
        connection_class=_Connection,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings=_SETTINGS,
    )
    try:
        await _prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect(
    database_url: str, *, connections_max: int = 8, connections_min: int = 1
) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool of the service's connections. Raises one of TRANSIENT, or asyncpg.PostgresError when it may not connect.

    With none at the least it connects, and may fail to, when it is first used.
    """
    return await asyncpg.create_pool(
        database_url,
        connection_class=_Connection,
        min_size=connections_min,
        max_size=connections_max,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings=_SETTINGS,
        init=_prepare,
        reset=_leave_as_it_is,
    )
