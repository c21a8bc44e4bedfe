"""Who may act: a session is as good as its key, at every moment."""

from pathlib import Path

import pytest

from services.keys import Keyring, new_key, write_keys
from services.monitor.sessions import LASTS_SECONDS, SESSIONS_MAX, Reader, Sessions


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def given(file: Path, *scopes: str, name: str = "chen") -> str:
    key, secret = new_key(name, scopes)
    write_keys(file, [key])
    return secret


def reader(sessions: Sessions, token: str | None) -> Reader:
    return sessions.reader(token, from_this_host=True)


def test_an_operator_may_act_and_an_auditor_may_read(file: Path, clock: Clock) -> None:
    sessions = Sessions(Keyring(file), clock)
    assert reader(sessions, sessions.open(given(file, "operator"))) == Reader("chen", may_read=True, may_act=True)
    assert reader(sessions, sessions.open(given(file, "auditor"))) == Reader("chen", may_read=True, may_act=False)


@pytest.mark.parametrize("scope", ["platform:*", "provider:91510100MA0000001L", "authority:chengdu-2024"])
def test_keys_of_others_open_nothing(file: Path, clock: Clock, scope: str) -> None:
    assert Sessions(Keyring(file), clock).open(given(file, scope)) is None


@pytest.mark.parametrize("presented", ["", "vl_wrong", "operator", "\x00", "é" * 4_000])
def test_what_is_no_key_opens_nothing(file: Path, clock: Clock, presented: str) -> None:
    given(file, "operator")
    assert Sessions(Keyring(file), clock).open(presented) is None


def test_with_keys_nobody_reads_without_one_also_not_from_this_host(file: Path, clock: Clock) -> None:
    given(file, "operator")
    sessions = Sessions(Keyring(file), clock)
    assert reader(sessions, None) == reader(sessions, "made up") == Reader()


def test_without_a_file_of_keys_this_host_reads_and_nobody_acts(clock: Clock) -> None:
    sessions = Sessions(None, clock)
    assert sessions.open("anything") is None
    assert sessions.reader("anything", from_this_host=True) == Reader(may_read=True)
    assert sessions.reader("anything", from_this_host=False) == Reader()


def test_a_session_ends_with_the_day_with_its_key_and_when_it_is_closed(file: Path, clock: Clock) -> None:
    sessions = Sessions(Keyring(file), clock)
    secret = given(file, "operator")
    token = sessions.open(secret)
    clock.now += LASTS_SECONDS - 1
    assert reader(sessions, token).may_act
    clock.now += 1
    assert reader(sessions, token) == Reader()
    token = sessions.open(secret)
    given(file, "operator")  # the same name, another key
    assert reader(sessions, token) == Reader()
    token = sessions.open(given(file, "operator"))
    given(file, "auditor")  # the same name, with less to do
    assert reader(sessions, token) == Reader()
    token = sessions.open(given(file, "operator"))
    sessions.close(token)
    assert reader(sessions, token) == Reader()


def test_while_the_keys_cannot_be_read_nobody_is_logged_in(file: Path, clock: Clock) -> None:
    sessions = Sessions(Keyring(file), clock)
    token = sessions.open(given(file, "operator"))
    file.write_text("not toml [", encoding="utf-8")
    assert reader(sessions, token) == Reader()
    assert sessions.open("anything") is None


def test_sessions_are_bounded(file: Path, clock: Clock) -> None:
    sessions, secret = Sessions(Keyring(file), clock), given(file, "operator")
    tokens = [sessions.open(secret) for _ in range(SESSIONS_MAX + 1)]
    assert reader(sessions, tokens[0]) == Reader()
    assert reader(sessions, tokens[1]).may_act
