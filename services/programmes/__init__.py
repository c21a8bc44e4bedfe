"""The programmes' policy files: one TOML file a programme, shipped with the package or in a folder of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.decoding import told
from schemas.policy import NotTomlError, Policy, read_policy

SHIPPED: Final = Path(__file__).parent
"""The folder with the policy files that come with the package."""


class PolicyError(ValueError):
    """A policy file cannot be used; the message says which, where in it, and why."""


def load_policy(path: Path) -> Policy:
    """Read one policy file; raise PolicyError with everything that is wrong in it."""
    try:
        policy = read_policy(path)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None
    except NotTomlError as error:
        raise PolicyError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise PolicyError(f"{path}: {told(error)}") from None
    if problems := policy.not_yet_enforced():
        raise PolicyError(f"{path}: {'; '.join(problems)}")
    return policy


def load_policies(folder: Path | None = None) -> Mapping[str, Policy]:
    """Read every ``*.toml`` of the folder (the shipped one by default), by code.

    Raises PolicyError when there is none, when one cannot be used, or when a code does not match its file's name.
    """
    folder = folder or SHIPPED
    policies: dict[str, Policy] = {}
    for path in sorted(folder.glob("*.toml")):
        policy = load_policy(path)
        if policy.code != path.stem:
            raise PolicyError(
                f"{path}: code is {policy.code!r}; a file is named after its programme, {policy.code}.toml"
            )
        policies[policy.code] = policy
    if not policies:
        raise PolicyError(f"{folder}: no policy files (*.toml) here")
    return policies
