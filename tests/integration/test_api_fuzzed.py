"""The API against its own OpenAPI document, by schemathesis: whatever is sent, each answer is one that the document tells of."""

import asyncio
import re
import sys
from pathlib import Path

from api_client import answering, keys_for
from events_made import as_inbound, issue_event, providers_of, redemption_event
from line import quick_settings

CHENGDU = "chengdu-2024"
EXAMPLES = 25
SECONDS_MAX = 280
CONFIGURATION = """
[checks]
# A well-formed event may still be no event of ours, and a well-formed name nobody's.
positive_data_acceptance.enabled = false

[[operations]]
# What cannot be read is a quote like any other: `rejected`, with the reason.
include-path = "/v1/programmes/{code}/quote"
checks.negative_data_rejection.enabled = false
"""


async def test_every_answer_is_one_that_the_openapi_document_tells_of(ledger, database_url, redis_url, tmp_path: Path):
    first, _ = providers_of(CHENGDU)
    events = [issue_event("CD-1"), *(redemption_event("CD-1", number, amount="1.00") for number in range(5))]
    await ledger.append(CHENGDU, [as_inbound(event) for event in events])
    file = tmp_path / "keys.toml"
    key = keys_for(file, everything=f"operator authority:{CHENGDU} provider:{first}")["everything"]
    settings = quick_settings(database_url, redis_url, programmes=frozenset(), keys_file=file)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
    report = tmp_path / "report.txt"
    async with answering(settings) as client:
        arguments = (
            "run", f"{client.url}/v1/openapi.json", "--header", f"Authorization: Bearer {key}",
            "--phases", "examples,coverage,fuzzing", "--seed", "20240301", "--max-examples", str(EXAMPLES),
            "--generation-database", "none", "--continue-on-failure",
        )  # fmt: skip
        with report.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("schemathesis"), *arguments, cwd=tmp_path, stdout=output, stderr=output
            )
        try:
            status = await asyncio.wait_for(process.wait(), SECONDS_MAX)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    text = report.read_text(encoding="utf-8")
    print(text[-1_500:])
    assert status == 0, text[-8_000:]
    assert re.search(r"Tested:\s+14", text), text[-1_500:]
