"""Make the secrets of a deployment, and keep the broker's users: see ``make-secrets.sh``. Standard library only."""

# ruff: noqa: INP001, T201  a script of its own, which prints what it did

import argparse
import hashlib
import os
import re
import secrets
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent

USERS = "valkey_users"
LEDGER, OPERATOR, MONITOR, HEALTH, PLATFORM = "ledger", "operator", "monitor", "health", "platform"
OWN_USERS = (LEDGER, OPERATOR, MONITOR, HEALTH)
"""Users of the deployment itself; the others' credentials are handed out."""

CREDENTIALS = "credentials.tsv"
CREDENTIALS_HEAD = "# user\tpassword\tstreams\n"

PASSWORDS_KEPT = 2
"""A rotated user's last password goes on working until it is retired."""

NAME = re.compile(r"[A-Za-z0-9._-]+")
HASH = re.compile(r"#[0-9a-f]{64}")
HEAD = re.compile(r"user \S+ (?:on|off)(?: #[0-9a-f]{64})+")
STREAMS = re.compile(r"%[RW]+~([^\s)]+)")


class WrongError(Exception):
    """What was asked cannot be done; the message says why."""


def password() -> str:
    """Return a new one: 256 bits, and of characters that no URL, shell or ACL file needs to quote."""
    return secrets.token_hex(32)


def hash_of(secret: str) -> str:
    """Return it as an ACL file has it. The secret is random, so a plain hash gives nothing away."""
    return "#" + hashlib.sha256(secret.encode()).hexdigest()


def producers(folder: Path) -> tuple[list[str], list[str]]:
    """Return the programmes' codes and the providers' USCCs, of the policy files in the folder."""
    programmes, providers = set[str](), set[str]()
    for path in sorted(folder.glob("*.toml")):
        policy = tomllib.loads(path.read_text(encoding="utf-8"))
        try:
            programmes.add(policy["code"])
            providers.update(one["uscc"] for one in policy["providers"]["accredited"])
        except (KeyError, TypeError):
            raise WrongError(f"{path} is no policy: `voucher-ledger programmes check {path}` says why") from None
    if not programmes:
        raise WrongError(f"{folder}: no policy files (*.toml) here")
    # They become part of a line of rules: a space in one would be a rule of its own.
    for name in (*programmes, *providers):
        if not NAME.fullmatch(name):
            raise WrongError(f"{name!r} cannot be the name of a stream")
    return sorted(programmes), sorted(providers)


def wanted_users(programmes: Iterable[str], providers: Iterable[str], platforms: Iterable[str]) -> Iterator[str]:
    """Give the lines of the users that there should be, each with {password} still in it."""
    names = {"{programme}": list(programmes), "{provider}": list(providers), "{platform}": list(platforms)}
    template = (DEPLOY / "users.acl.template").read_text(encoding="utf-8")
    for line in template.splitlines():
        if not line or line.startswith("#"):
            continue
        for placeholder, values in names.items():
            if placeholder in line:
                yield from (line.replace(placeholder, value) for value in values)
                break
        else:
            yield line


class Secrets:
    """The folder: private, though its files are not, for the containers run as users of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def read(self, name: str) -> str | None:
        """Return what the file says, None if there is no such file."""
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        """Write it, into the same file where there is one: a container has that one mounted, not its successor."""
        with os.fdopen(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)

    def once(self, name: str, text: str) -> str:
        """Write it unless the file is there already; return what the file says."""
        said = self.read(name)
        if said is None:
            self.write(name, text + "\n")
            print(f"made {self.folder / name}")
            return text
        return said.strip()


def database(folder: Secrets) -> None:
    """Make the passwords of the database and the URLs that they are part of."""
    folder.once("postgres_password", password())
    for role, login, url in (
        ("migration", "voucher_ledger_migration", "migration_database_url"),
        ("service", "voucher_ledger", "database_url"),
    ):
        secret = folder.once(f"postgres_{role}_password", password())
        folder.once(url, f"postgresql://{login}:{secret}@postgres:5432/voucher_ledger")


def keys(folder: Secrets) -> None:
    """Make the file of the keys for the monitor, without any; ``voucher-ledger keys`` adds them."""
    # In a folder of its own, which the monitor has mounted as a whole: the file is replaced when a key is added.
    inner = folder.folder / "keys"
    inner.mkdir(exist_ok=True)
    inner.chmod(0o755)
    if not (inner / "keys.toml").exists():
        (inner / "keys.toml").write_text("# Made by `voucher-ledger keys`. Only hashes are kept.\n", encoding="utf-8")
        (inner / "keys.toml").chmod(0o644)
        print(f"made {inner / 'keys.toml'}, in which nobody has a key yet")


class Users:
    """The broker's users: a line each in the file that the server reads, and their passwords where these are needed."""

    def __init__(self, folder: Secrets) -> None:
        self._folder = folder
        self._lines = {line.split()[1]: line for line in (folder.read(USERS) or "").splitlines() if line}

    def platforms(self) -> list[str]:
        """Return the platforms that have a user."""
        return [user for user in self._lines if user == PLATFORM or user.startswith(f"{PLATFORM}-")]

    def bring_up_to_date(self, wanted: Iterable[str]) -> list[str]:
        """Add the users that are not there yet, and give the others the rules of today; return whom that concerned.

        Passwords, and whether a user is on, stay as they are. Users who are no longer wanted stay too: see ``revoke``.
        """
        changed = []
        for line in wanted:
            user = line.split()[1]
            known = self._lines.get(user)
            if "{password}" not in line:
                self._lines[user] = line
            elif known is None:
                secret = password()
                self._lines[user] = line.replace("{password}", hash_of(secret))
                self._tell(user, secret)
            else:
                self._lines[user] = _head(known) + line.partition(" {password}")[2]
            if self._lines[user] != known:
                changed.append(user)
        self._write()
        return changed

    def rotate(self, user: str) -> None:
        """Give the user a new password; the one before goes on working, so that nobody is cut off meanwhile."""
        secret = password()
        self._change(user, [hash_of(secret), *HASH.findall(self._line(user))[: PASSWORDS_KEPT - 1]])
        self._tell(user, secret)

    def retire(self, user: str) -> None:
        """Let only the user's newest password work."""
        self._change(user, HASH.findall(self._line(user))[:1])

    def revoke(self, user: str) -> None:
        """Let no password work. The user's line stays, so that the next run does not add it anew."""
        self._change(user, HASH.findall(self._line(user)), state="off")

    def _line(self, user: str) -> str:
        line = self._lines.get(user)
        if line is None or not HASH.search(line):
            raise WrongError(f"no user {user!r} with a password; there are: {', '.join(sorted(self._lines))}")
        return line

    def _change(self, user: str, hashes: Iterable[str], state: str = "on") -> None:
        rules = self._line(user).removeprefix(_head(self._line(user)))
        self._lines[user] = f"user {user} {state} {' '.join(hashes)}{rules}"
        self._write()

    def _write(self) -> None:
        self._folder.write(USERS, "".join(f"{line}\n" for line in self._lines.values()))

    def _tell(self, user: str, secret: str) -> None:
        """Write the password to where it is needed: a file of the deployment's own, or the list to hand out."""
        if user == HEALTH:
            self._folder.write("valkey_health_password", f"{secret}\n")
            return
        if user in OWN_USERS:
            self._folder.write(f"{user}_redis_url", f"redis://{user}:{secret}@valkey:6379/0\n")
            return
        streams = ", ".join(STREAMS.findall(self._lines[user]))
        others = [
            line
            for line in (self._folder.read(CREDENTIALS) or CREDENTIALS_HEAD).splitlines(keepends=True)
            if line.split("\t", 1)[0] != user
        ]
        # No container reads this one.
        self._folder.write(CREDENTIALS, "".join([*others, f"{user}\t{secret}\t{streams}\n"]), mode=0o600)


def _head(line: str) -> str:
    """Return who a line is about, whether the user is on, and the hashes: all that the rules come after."""
    found = HEAD.match(line)
    if found is None:
        raise WrongError(f"{USERS} was changed by hand: {line.split()[1]!r} does not begin with a state and hashes")
    return found.group()


def main(arguments: list[str] | None = None) -> None:
    """Make what is missing, or change one user."""
    parser = argparse.ArgumentParser(
        prog="make-secrets.sh", description="Make what is missing of a deployment's secrets, and leave the rest."
    )
    parser.add_argument("--dir", type=Path, default=DEPLOY / "secrets", help="where to (deploy/secrets)")
    parser.add_argument(
        "--programmes", type=Path, default=DEPLOY.parent / "services" / "programmes",
        help="the folder of policy files: a user for each programme's authority and each provider",
    )  # fmt: skip
    parser.add_argument("--platform", action="append", default=[], metavar="NAME", help="also a user platform-NAME")
    one = parser.add_mutually_exclusive_group()
    one.add_argument(
        "--rotate", metavar="USER", help="a new password for this user of the broker; the last one goes on working"
    )
    one.add_argument("--retire", metavar="USER", help="only the newest password of this user goes on working")
    one.add_argument("--revoke", metavar="USER", help="no password of this user goes on working")
    chosen = parser.parse_args(arguments)
    try:
        _act(chosen)
    except (WrongError, OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"make-secrets.sh: {error}")


def _act(chosen: argparse.Namespace) -> None:
    folder = Secrets(chosen.dir)
    users = Users(folder)
    for verb in ("rotate", "retire", "revoke"):
        if user := getattr(chosen, verb):
            getattr(users, verb)(user)
            print(f"{user}: {verb}d" if verb != "revoke" else f"{user}: off")
            print("The server reads it when it is told to: ACL LOAD, or a restart (docs/deployment.md).")
            return
    for name in chosen.platform:
        if not NAME.fullmatch(name):
            raise WrongError(f"{name!r} cannot be the name of a user")
    platforms = dict.fromkeys([PLATFORM, *users.platforms(), *(f"{PLATFORM}-{name}" for name in chosen.platform)])
    database(folder)
    folder.once("grafana_password", password())
    keys(folder)
    changed = users.bring_up_to_date(wanted_users(*producers(chosen.programmes), platforms))
    print(f"users added, or given the rules of today: {', '.join(changed)}" if changed else "no user was missing")
    print(f"credentials to hand out: {folder.folder / CREDENTIALS}")


if __name__ == "__main__":
    main()
