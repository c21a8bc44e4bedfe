"""The HTTP application: its routes, how it fails, and the OpenAPI document that describes it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from importlib import metadata
from typing import Any, Final

from fastapi import FastAPI

from schemas.policy import Policy
from services.api import bodies, events, health, ledgers, operations, problems, quoting
from services.api.resources import opened
from services.settings import Settings

DESCRIPTION: Final = """\
Ledgers of compute vouchers (算力券). Amounts are CNY, as decimal strings with two decimals. Lists come by pages: go on with
`after` set to `next` until that is null. What goes wrong is `application/problem+json` (RFC 9457).
"""


def create_app(settings: Settings, policies: Mapping[str, Policy]) -> FastAPI:
    """Return the application. It connects when it is first asked; its resources are at ``app.state.resources`` while it runs."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, policies) as resources:
            app.state.resources = resources
            yield

    app = FastAPI(
        title="Voucher ledger",
        version=metadata.version("voucher-ledger"),
        description=DESCRIPTION,
        lifespan=life,
        openapi_url="/v1/openapi.json",
        # Their pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    for module in (ledgers, quoting, events, operations, health):
        app.include_router(module.router)
    problems.install(app)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI document say what FastAPI cannot know: problems' media type, and the forms of events."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            for operations_of in document["paths"].values():
                for operation in operations_of.values():
                    _say_problems(operation["responses"])
            document["components"]["schemas"] |= bodies.schemas()
        return generated()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _say_problems(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        said = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        if said.endswith("/Problem"):
            response["content"] = {problems.MEDIA_TYPE: content["application/json"]}
