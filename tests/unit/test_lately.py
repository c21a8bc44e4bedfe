"""What a stream is judged by: its last entries, so many and no more; and where the limits on the dead letters are."""

from services.consumers.limits import Lately, Limits

LIMITS = Limits(dead_letters_max=1_000, dead_letter_share_max=0.9, dead_letter_share_of=100)


def after(*batches: tuple[int, int]) -> Lately:
    lately = Lately(of=100)
    for entries, letters in batches:
        lately.take(entries, letters)
    return lately


def test_the_last_batches_that_come_to_the_number_are_counted_and_no_more():
    lately = after(*[(30, 10)] * 3)
    assert (lately.entries, lately.letters) == (90, 30)
    lately.take(30, 0)
    assert (lately.entries, lately.letters) == (120, 30)
    lately.take(30, 0)
    assert (lately.entries, lately.letters) == (120, 20)
    lately.take(500, 499)
    assert (lately.entries, lately.letters) == (500, 499)
    for _ in range(1_000):
        lately.take(1, 0)
    assert (lately.entries, lately.letters) == (100, 0)


def test_a_stream_is_held_from_the_share_on_and_not_before_there_are_enough_entries():
    assert LIMITS.because_of_share("s", after((99, 99))) is None
    assert LIMITS.because_of_share("s", after((100, 89))) is None
    assert LIMITS.because_of_share("s", after((100, 90))) is not None
    assert LIMITS.because_of_share("s", after((1, 0), (200, 200))) is not None


def test_a_share_of_1_lets_everything_through():
    assert LIMITS._replace(dead_letter_share_max=1.0).because_of_share("s", after((100, 100))) is None


def test_a_stream_with_more_than_a_tenth_of_bad_entries_has_four_fifths_of_the_room():
    assert LIMITS.room(after((1, 1))) == 1_000
    assert LIMITS.room(after((100, 10))) == 1_000
    assert LIMITS.room(after((100, 11))) == 800
