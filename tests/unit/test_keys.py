"""Keys: made, found again by what they are, read anew when their file changes, and nobody let in by a file that cannot be read."""

import hashlib
import stat
from pathlib import Path

import pytest
from events_made import uscc

from services.keys import Keyring, KeysError, Role, Scope, hash_of, new_key, read_keys, write_keys

PROVIDER = uscc(1)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("operator", Scope(Role.OPERATOR)),
        ("auditor", Scope(Role.AUDITOR)),
        ("platform:chengdu-2024", Scope(Role.PLATFORM, "chengdu-2024")),
        ("platform:*", Scope(Role.PLATFORM, "*")),
        ("authority:chengdu-2024", Scope(Role.AUTHORITY, "chengdu-2024")),
        (f"provider:{PROVIDER}", Scope(Role.PROVIDER, PROVIDER)),
    ],
)
def test_scopes_are_read_as_they_are_written(text, scope):
    assert Scope.parse(text) == scope
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    ["", "root", "operator:", "operator:x", "auditor:chengdu-2024", "platform", "platform:", "platform:A B", "authority:*",
     "authority", "provider:*", "provider", f"provider:{PROVIDER[:-1]}", f"provider:{PROVIDER} ", "Operator"],
)  # fmt: skip
def test_what_is_no_scope_is_refused(text):
    with pytest.raises(ValueError, match="is no scope"):
        Scope.parse(text)
    with pytest.raises(KeysError):
        new_key("name", [text])


def test_a_key_is_found_by_what_it_is_and_only_its_hash_is_kept(tmp_path: Path):
    path = tmp_path / "keys.toml"
    made = [new_key(f"name-{number}", ["auditor", "platform:*"]) for number in range(3)]
    write_keys(path, [key for key, _ in made])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    ring = Keyring(path)
    for key, secret in made:
        assert ring.find(secret) == key
        assert secret not in text
        assert hashlib.sha256(secret.encode()).hexdigest() in text
        assert len(secret) > 40
    assert len({secret for _, secret in made}) == 3
    for other in ("", "vl_", made[0][1][:-1], made[0][1] + "x", made[0][0].sha256, "\udcff"):
        assert ring.find(other) is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_changed_file_is_read_again_and_a_broken_or_missing_one_lets_nobody_in(tmp_path: Path):
    path = tmp_path / "keys.toml"
    ring = Keyring(path)
    with pytest.raises(KeysError, match="cannot be read"):
        ring.find("vl_x")
    (first, secret), (second, other) = new_key("first", ["auditor"]), new_key("second", ["operator"])
    write_keys(path, [first])
    assert (ring.find(secret), ring.find(other)) == (first, None)
    write_keys(path, [second])
    assert (ring.find(secret), ring.find(other)) == (None, second)
    path.write_text("[[key]\n")
    for _ in range(2):
        with pytest.raises(KeysError, match="not TOML"):
            ring.find(other)
    write_keys(path, [second])
    assert ring.find(other) == second
    path.unlink()
    with pytest.raises(KeysError):
        ring.find(other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[key]]\nname = "a"\nsha256 = "00"\nscopes = ["auditor"]\n', "sha256"),
        (f'[[key]]\nname = "a b"\nsha256 = "{"0" * 64}"\nscopes = ["auditor"]\n', "name"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = []\n', "scopes"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = ["root"]\n', "root"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = ["auditor"]\nadmin = true\n', "admin"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = ["auditor"]\n' * 2, "same name"),
        ("keys = []\n", "keys"),
    ],
)
def test_a_wrong_file_is_told_as_what_is_wrong_in_it(tmp_path: Path, text, told):
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeysError, match=told):
        read_keys(path)


def test_the_hash_is_the_sha_256_of_the_key():
    assert hash_of("vl_x") == hashlib.sha256(b"vl_x").hexdigest()
