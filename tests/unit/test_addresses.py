"""Listening: at the address that was asked for, and its connections hold nothing back."""

import contextlib
import socket

import pytest

from services.addresses import listen, url_of


def test_a_connection_sends_what_it_has_at_once():
    """Held back until the client has acknowledged what came before, each answer of two parts would take 40 ms longer."""
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)  # fmt: skip
def test_its_url_is_one_for_this_host(host, shown):
    with contextlib.ExitStack() as stack:
        try:
            listening = stack.enter_context(listen(host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        assert url_of(listening) == f"http://{shown}:{listening.getsockname()[1]}"


def test_an_address_that_is_taken_cannot_be_had():
    with listen("127.0.0.1", 0) as listening, pytest.raises(OSError, match=r"in use"):
        listen(*listening.getsockname())
