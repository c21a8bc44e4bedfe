"""A process of the bench `peers`: `django-hordak` on PostgreSQL; a redemption is a transaction of two legs."""

import time
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from sqlalchemy.engine import make_url

from benchmarks import startline


def set_up(database_url: str) -> None:
    """Give Django its settings and make the package's tables."""
    url = make_url(database_url)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql", "NAME": url.database, "USER": url.username,
                "HOST": url.query["host"], "PORT": url.query["port"],
            }
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, DEFAULT_CURRENCY="CNY", CURRENCIES=["CNY"],
        SECRET_KEY="none",
    )  # fmt: skip
    django.setup()
    call_command("migrate", verbosity=0)


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Redeem on one voucher's account after the other, so many transactions of the books in one of the database."""
    set_up(task["database_url"])
    from djmoney.money import Money  # noqa: PLC0415  only after Django was set up
    from hordak.models import Account, AccountType, Leg, Transaction  # noqa: PLC0415  the same

    vouchers = [
        Account.objects.create(name=f"V-{number}", code=str(number + 1), type=AccountType.liability, currencies=["CNY"])
        for number in range(task["vouchers"])
    ]
    provider = Account.objects.create(name="provider", code="0", type=AccountType.liability, currencies=["CNY"])
    amount, together = Money("0.01", "CNY"), int(task["together"])
    startline.wait_for_start()
    began = time.monotonic()
    for first in range(0, task["events"], together):
        with transaction.atomic():
            for number in range(first, first + together):
                booked = Transaction.objects.create(description=f"R-{number}")
                Leg.objects.create(transaction=booked, account=vouchers[number % len(vouchers)], debit=amount)
                Leg.objects.create(transaction=booked, account=provider, credit=amount)
    return {"began": began, "ended": time.monotonic()}


if __name__ == "__main__":
    startline.tell(run(startline.task()))
