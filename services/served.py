"""Which programmes a process serves, those of the policy files that its settings name, and within which limits."""

from schemas.policy import Policy
from services.ledger.append import Limits
from services.programmes import load_policies
from services.settings import Settings, SettingsError


def served_policies(settings: Settings) -> dict[str, Policy]:
    """Return the policies of the programmes that the settings name.

    Raises PolicyError, and SettingsError where the settings name a programme that has no file, or a provider accredited nowhere.
    """
    policies = load_policies(settings.programmes_dir)
    if unknown := settings.programmes - policies.keys():
        raise SettingsError(
            f"VOUCHER_LEDGER_PROGRAMMES names {', '.join(sorted(unknown))}, there is {', '.join(policies)}"
        )
    served = {code: policies[code] for code in sorted(settings.programmes or policies)}
    accredited = {uscc for policy in served.values() for uscc in policy.providers.codes}
    if unknown := settings.providers - accredited:
        raise SettingsError(
            f"VOUCHER_LEDGER_PROVIDERS names {', '.join(sorted(unknown))}, which no programme here accredits"
        )
    return served


def ledger_limits(settings: Settings) -> Limits:
    """Return the limits of the ledger that the settings say."""
    return Limits(
        vouchers_max=settings.vouchers_in_memory_max, wait=settings.wait, parked_max=settings.parked_max,
        parked_per_provider_max=settings.parked_per_provider_max,
    )  # fmt: skip
