"""The faults: what each kind does to whom, for how long, and that it is over in the end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from chaos.fleet import CONSUMERS, NAMES, Fleet
from chaos.lines import Line, State
from chaos.programmes import PROGRAMMES, Rules
from chaos.servers import Servers

PRODUCERS: Final = "producers"
"""As a target: the producers' own line to the broker."""
EVERYONE: Final = "everyone"


@dataclass(frozen=True, slots=True)
class Fault:
    """What fails, whose it is (where that matters), so many seconds into its period, and for how many."""

    kind: str
    target: str
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class World:
    """What faults can be done to."""

    servers: Servers
    fleet: Fleet
    producers: Line
    rules: Rules

    def line(self, target: str, server: str) -> list[Line]:
        """Return the lines of the target to one of the servers."""
        if target == PRODUCERS:
            return [self.producers]
        mine = self.fleet.lines.values() if target == EVERYONE else [self.fleet.lines[target]]
        return [lines.database if server == "database" else lines.broker for lines in mine]


Act = Callable[[World, Fault], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: how it is done, whom it can hit, and for how long it lasts, in seconds from and to.

    One that is ``slow`` outlasts the time limits of services and servers; it is not for a short campaign.
    """

    act: Act
    targets: tuple[str, ...] = (EVERYONE,)
    seconds: tuple[float, float] = (0.5, 4.0)
    slow: bool = False


async def inflict(world: World, fault: Fault) -> None:
    """Do what the fault says, and return when it is over and taken back."""
    await KINDS[fault.kind].act(world, fault)


async def _kill(world: World, fault: Fault) -> None:
    await world.fleet.kill(fault.target)


async def _freeze(world: World, fault: Fault) -> None:
    await world.fleet.freeze(fault.target, fault.seconds)


async def _restart(world: World, fault: Fault) -> None:
    await world.fleet.restart(fault.target)


async def _deploy(world: World, _: Fault) -> None:
    for name in NAMES:
        await world.fleet.restart(name)


async def _change_rules(world: World, fault: Fault) -> None:
    world.rules.change()
    await _deploy(world, fault)


async def _delete_notifications(world: World, fault: Fault) -> None:
    await world.servers.delete_notifications(fault.target)


async def _twin(world: World, fault: Fault) -> None:
    async with world.fleet.twin(fault.target):
        await asyncio.sleep(fault.seconds)


def _wrong_clock(ahead_seconds: float) -> Act:
    async def act(world: World, fault: Fault) -> None:
        await world.fleet.restart(fault.target, ahead_seconds=ahead_seconds)
        await asyncio.sleep(fault.seconds)
        await world.fleet.restart(fault.target)

    return act


async def _kill_database(world: World, fault: Fault) -> None:
    await world.servers.database.kill(fault.seconds)


async def _kill_broker(world: World, fault: Fault) -> None:
    await world.servers.broker.kill(fault.seconds)


async def _freeze_database(world: World, fault: Fault) -> None:
    await world.servers.database.freeze(fault.seconds)


async def _freeze_broker(world: World, fault: Fault) -> None:
    await world.servers.broker.freeze(fault.seconds)


async def _end_sessions(world: World, _: Fault) -> None:
    await world.servers.end_sessions()


def _held(of: Callable[[Servers], contextlib.AbstractAsyncContextManager[None]]) -> Act:
    async def act(world: World, fault: Fault) -> None:
        async with of(world.servers):
            await asyncio.sleep(fault.seconds)

    return act


def _line(server: str, state: State) -> Act:
    async def act(world: World, fault: Fault) -> None:
        with contextlib.ExitStack() as stack:
            for line in world.line(fault.target, server):
                stack.enter_context(line.being(state))
            await asyncio.sleep(fault.seconds)

    return act


SKEW_SECONDS: Final = 3.0
_ANYONE: Final = (*NAMES, EVERYONE)
_CONSUMERS: Final = tuple(name for name in NAMES if name.startswith(CONSUMERS))
_ANYONES_BROKER: Final = (*_ANYONE, PRODUCERS, PRODUCERS)

KINDS: Final = {
    "service killed": Kind(_kill, NAMES),
    "service frozen past the claim time": Kind(_freeze, NAMES, (2.5, 5.0)),
    "service told to end": Kind(_restart, NAMES),
    "all services deployed in turn": Kind(_deploy),
    "rules changed, and all deployed": Kind(_change_rules),
    "two consumers of one name": Kind(_twin, _CONSUMERS, (2.0, 4.0)),
    "a clock ahead": Kind(_wrong_clock(SKEW_SECONDS), _CONSUMERS, (2.0, 4.0)),
    "a clock behind": Kind(_wrong_clock(-SKEW_SECONDS), _CONSUMERS, (2.0, 4.0)),
    "database killed": Kind(_kill_database, seconds=(0.0, 2.0)),
    "database frozen": Kind(_freeze_database, seconds=(0.5, 3.0)),
    "database read-only": Kind(_held(Servers.database_read_only)),
    "database refuses entries": Kind(_held(Servers.right_revoked)),
    "database ends all sessions": Kind(_end_sessions),
    "heads held by another": Kind(_held(Servers.heads_held)),
    "broker killed": Kind(_kill_broker, seconds=(0.0, 2.0)),
    "broker frozen": Kind(_freeze_broker, seconds=(0.5, 3.0)),
    "broker full": Kind(_held(Servers.broker_full)),
    "notifications deleted": Kind(_delete_notifications, PROGRAMMES),
    "line to the database cut": Kind(_line("database", State.CUT), _ANYONE),
    "line to the database slow": Kind(_line("database", State.SLOW), _ANYONE),
    "line to the database stalled": Kind(_line("database", State.STALLED), _ANYONE),
    "line to the database deaf": Kind(_line("database", State.DEAF), _ANYONE, (0.2, 2.0)),
    "line to the broker cut": Kind(_line("broker", State.CUT), _ANYONES_BROKER),
    "line to the broker slow": Kind(_line("broker", State.SLOW), _ANYONES_BROKER),
    "line to the broker stalled": Kind(_line("broker", State.STALLED), _ANYONES_BROKER),
    "line to the broker deaf": Kind(_line("broker", State.DEAF), _ANYONES_BROKER, (0.2, 2.0)),
    # The database ends a transaction that is idle for 15 s; the broker's clients give up after 10 s.
    "service frozen for long": Kind(_freeze, NAMES, (16.0, 18.0), slow=True),
    "line to the database stalled for long": Kind(_line("database", State.STALLED), _ANYONE, (16.0, 18.0), slow=True),
    "line to the broker stalled for long": Kind(_line("broker", State.STALLED), _ANYONE, (11.0, 13.0), slow=True),
}
"""The kinds, by the name that the report has for them."""
