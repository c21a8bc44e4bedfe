"""Acting from the page: an operator confirms a list of letters, and exactly those are dealt with, each act being written down.

What is done is fixed when the question is asked: the ids of the letters that were shown then. Whether the reader may act is asked
of the session on the server, when the buttons are made and again when they are pressed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
import structlog
from markupsafe import Markup
from nicegui import ui
from redis.exceptions import RedisError

from services.acts import Action, Actor, Through, carry_out
from services.broker import AWAY
from services.ledger.database import TRANSIENT
from services.letters import LetterHead
from services.monitor import figures
from services.monitor.frame import View
from services.monitor.live import Text, code

log = structlog.get_logger()

_KINDS_TOLD: Final = 8


class Acting:
    """The two buttons, for who may act; for others, where to log in."""

    def __init__(self, view: View, chosen: Callable[[], Sequence[LetterHead]]) -> None:
        self._view = view
        self._chosen = chosen
        said = view.words
        self._buttons: dict[Action, ui.button] = {}
        with ui.element("div").classes("acting"):
            if not view.reader.may_act:
                Text(said.log_in_to_act, classes="note")
                return
            for action in Action:
                button = ui.button(on_click=lambda _, action=action: self._ask(action), color=None).props(
                    "outline no-caps"
                )
                self._buttons[action] = button.classes(str(action))

    def show(self, count: int) -> None:
        """Let the buttons say how many letters they are for."""
        said = self._view.words
        for action, button in self._buttons.items():
            sentence = said.replay_them if action is Action.REPLAY else said.discard_them
            button.set_text(sentence.format(count=figures.count(count)))
            button.set_enabled(count > 0)

    def _ask(self, action: Action) -> None:
        letters, said = list(self._chosen()), self._view.words
        replays = action is Action.REPLAY
        count = figures.count(len(letters))
        with ui.dialog().props("persistent") as dialog, ui.card().classes("confirm"):
            Text((said.replay_what if replays else said.discard_what).format(count=count), tag="h2")
            Text((said.replay_means if replays else said.discard_means).format(count=count), tag="p")
            Text(self._summary(letters), tag="ul")
            progress = Text(classes="note")
            with ui.element("div").classes("answers"):
                yes = ui.button((said.yes_replay if replays else said.yes_discard).format(count=count))
                no = ui.button(said.cancel, on_click=dialog.close, color=None).props("flat no-caps").classes("quiet")

            async def go() -> None:
                yes.disable()
                no.disable()
                ui.notify(await self._act(action, [letter.id for letter in letters], progress), multi_line=True)
                dialog.close()

            yes.on_click(go).props(f"unelevated no-caps color={'primary' if replays else 'negative'}")
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _summary(self, letters: Sequence[LetterHead]) -> Markup:
        kinds = Counter((letter.reason, letter.stream) for letter in letters).most_common()
        told = [
            Markup("<li><b>{}</b> {} {}</li>").format(figures.count(count), code(reason), code(stream))
            for (reason, stream), count in kinds[:_KINDS_TOLD]
        ]
        if left := sum(count for _, count in kinds[_KINDS_TOLD:]):
            told.append(Markup("<li>{}</li>").format(self._view.words.and_more.format(count=figures.count(left))))
        return Markup("").join(told)

    async def _act(self, action: Action, letter_ids: Sequence[str], progress: Text) -> str:
        """Do it, if the reader still may; return what to say of it."""
        said, site, reader = self._view.words, self._view.site, self._view.reader
        if not reader.may_act or reader.name is None:
            return said.may_not
        actor, done = Actor(reader.name, Through.MONITOR), 0
        count = figures.count(len(letter_ids))
        try:
            async for some in carry_out(site.pool, site.redis, actor, action, letter_ids):
                done += len(some)
                progress.show(said.acting.format(done=figures.count(done), count=count))
        except (*AWAY, *TRANSIENT, RedisError, asyncpg.PostgresError) as error:
            log.warning("acting on dead letters was cut short", action=str(action), who=reader.name, done=done)
            return said.act_failed.format(
                done=figures.count(done), count=count, because=f"{type(error).__name__}: {error}"
            )
        finally:
            await site.sampler.look_at_letters()
        log.info("acted on dead letters", action=str(action), who=reader.name, count=done)
        told = (said.replayed if action is Action.REPLAY else said.discarded).format(count=figures.count(done))
        gone = len(letter_ids) - done
        return f"{told} {said.some_were_gone.format(count=figures.count(gone))}" if gone else told
