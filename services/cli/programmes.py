"""``programmes``: the policies, and what is wrong in a policy file. ``schemas export``: the contract in files."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from schemas import export
from schemas.money import format_yuan
from schemas.parts import Rule
from schemas.policy import NotTomlError, Policy, read_policy
from services.cli.app import BAD_USAGE, FOUND_WRONG, CommandError, Json, app, err, out, print_json, print_table, stop
from services.programmes import load_policies
from services.settings import read_settings

commands = typer.Typer(help="The programmes' rules: list, show, check.", no_args_is_help=True)
schemas_commands = typer.Typer(help="The contract for those who do not write Python.", no_args_is_help=True)
app.add_typer(commands, name="programmes")
app.add_typer(schemas_commands, name="schemas")

_SAID_OF_EACH = frozenset(Rule.model_fields)


@commands.command("list")
def list_programmes(*, as_json: Json = False) -> None:
    """List the programmes whose policy files are in use."""
    policies = load_policies(read_settings().programmes_dir).values()
    if as_json:
        print_json({"programmes": [_in_short(policy) for policy in policies]})
        return
    columns = ("programme", "name", "", "revision>", "opens", "closes", "budget>", "per")
    print_table("Programmes", columns, (
        (
            policy.code, policy.names.zh, policy.names.en, policy.revision, policy.period.opens_on, policy.period.closes_on,
            format_yuan(policy.budget.amount), policy.budget.per,
        )
        for policy in policies
    ))  # fmt: skip


def _in_short(policy: Policy) -> dict[str, object]:
    return {
        "programme": policy.code,
        "revision": policy.revision,
        "digest": policy.digest.hex(),
        "names": policy.names.model_dump(),
        "opens_on": policy.period.opens_on.isoformat(),
        "closes_on": policy.period.closes_on.isoformat(),
        "budget": {"amount": format_yuan(policy.budget.amount), "per": policy.budget.per},
    }


@commands.command()
def show(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The programme, such as chengdu-2024.")],
    *,
    as_json: Json = False,
) -> None:
    """Show each rule of a programme, where it was read, and whether it is published or assumed."""
    policies = load_policies(read_settings().programmes_dir)
    policy = policies.get(code)
    if policy is None:
        raise CommandError(f"no programme {code!r}; there are {', '.join(policies)}", BAD_USAGE)
    if as_json:
        print_json({"digest": policy.digest.hex(), **policy.model_dump(mode="json", exclude_unset=True)})
        return
    out.print(f"{policy.names.zh}  {policy.names.en}  ({policy.code}, revision {policy.revision})", markup=False)
    print_table(
        "Rules", ("rule", "says", "status", "source", "note"),
        ((where, _says(rule), rule.status, rule.source, rule.note) for where, rule in policy.rules()),
    )  # fmt: skip
    print_table(
        "Sources", ("source", "title", "note"), ((name, one.title, one.note) for name, one in policy.sources.items())
    )


def _says(rule: BaseModel) -> str:
    """Return what a rule or a part of one says, in a line a field."""
    document = rule.model_dump(mode="json", exclude_none=True, exclude=set(_SAID_OF_EACH))
    return "\n".join(f"{name} = {_value(value)}" for name, value in document.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ("\n  " if any(isinstance(part, dict) for part in value) else ", ").join(sorted(map(_value, value)))
    return str(value)


@commands.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy file (TOML).")],
    *,
    as_json: Json = False,
) -> None:
    """Say what is wrong in a policy file, all of it; exit 1 if anything is."""
    problems = _problems(file)
    if as_json:
        print_json({"file": str(file), "ok": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            out.print(f"{file}: {problem}", markup=False, highlight=False)
    else:
        err.print(f"{file}: nothing is wrong", markup=False, highlight=False)
    if problems:
        stop(FOUND_WRONG)


def _problems(file: Path) -> list[str]:
    try:
        policy = read_policy(file)
    except OSError as error:
        raise CommandError(f"{file}: cannot be read: {error.strerror}", BAD_USAGE) from None
    except NotTomlError as error:
        return [f"not TOML: {error}"]
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in found]
    if policy.code != file.stem:
        return [*policy.not_yet_enforced(), f"code: is {policy.code!r}; the file has to be named {policy.code}.toml"]
    return policy.not_yet_enforced()


@schemas_commands.command("export")
def export_schemas(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them; made if it is missing.")],
    *,
    as_json: Json = False,
) -> None:
    """Write the contract into a folder: JSON Schemas, AsyncAPI (asyncapi.yaml), and a page on it (asyncapi.html)."""
    documents = export.documents()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in documents.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}", BAD_USAGE) from None
    if as_json:
        print_json({"directory": str(directory), "files": sorted(documents)})
    else:
        err.print(f"{len(documents)} documents in {directory}", markup=False, highlight=False)
