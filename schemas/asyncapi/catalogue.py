"""What the AsyncAPI document is about: the messages, the streams that carry them, what the ledger does with them, and with whom."""

from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from schemas import codes
from schemas.asyncapi import examples
from schemas.codes import Message
from schemas.events import EXHAUSTED, ISSUED, REDEEMED
from schemas.forms import QuotaExhausted, VoucherIssued, VoucherRedeemed
from schemas.letters import DeadLetter
from schemas.notifications import Notification
from schemas.streams import (
    DEAD_LETTER,
    FIELD,
    GROUP,
    NOTIFICATION,
    QUOTA_EXHAUSTED,
    VOUCHER_ISSUED,
    VOUCHER_REDEEMED,
    Stream,
)
from schemas.words import REASONS


class Carried(NamedTuple):
    """A message: its model, as it is read or as it is written, its words and its example."""

    model: type[BaseModel]
    mode: JsonSchemaMode
    name: str
    title: Message
    summary: Message
    example: dict[str, Any]
    meanings: tuple[str, dict[str, Message]] | None = None
    """A field, and what each of its values means."""

    @property
    def id(self) -> str:
        return self.model.__name__


class Channel(NamedTuple):
    """A stream: what it carries, its words, and how its entries are numbered."""

    id: str
    stream: Stream
    message: Carried
    title: Message
    description: Message
    owner: str = ""
    """Where in the message its owner stands, after whom it is called."""
    entry_id: str = "*"
    group: str | None = GROUP


class Operation(NamedTuple):
    """What the ledger does with a stream; ``by`` are those on the other side, and ``command`` is what they do."""

    id: str
    action: str
    channel: Channel
    by: tuple[str, ...]
    title: Message
    command: str


_ISSUED: Final = Carried(
    VoucherIssued, "validation", ISSUED, Message("发放算力券", "A voucher is issued"),
    Message("主管部门向某单位发放一张算力券。", "An authority issues a voucher to an enterprise, for a contract."), examples.ISSUED,
)  # fmt: skip
_REDEEMED: Final = Carried(
    VoucherRedeemed, "validation", REDEEMED, Message("核销算力券", "A voucher is redeemed"),
    Message("服务机构核销一张算力券的全部或部分。", "A provider redeems a voucher, in full or in part."), examples.REDEEMED,
)  # fmt: skip
_EXHAUSTED: Final = Carried(
    QuotaExhausted, "validation", EXHAUSTED, Message("额度用完", "A quota is used up"),
    Message("某单位或整个项目的额度关闭，此后的发放被拒绝。", "A quota is closed: later issues on it are refused."), examples.EXHAUSTED,
)  # fmt: skip
_NOTIFICATION: Final = Carried(
    Notification, "serialization", "notification.v1", Message("裁定通知", "What was decided"),
    Message("账本的每个条目对应一条通知，按位置排列，无缺无重。", "One for each entry of the ledger, in order, without gap or double."),
    examples.NOTIFICATION, ("code", {str(code): message for code, message in codes.MESSAGES.items()}),
)  # fmt: skip
_DEAD_LETTER: Final = Carried(
    DeadLetter, "serialization", "dead-letter", Message("死信", "A dead letter"),
    Message("无法成为账本条目的事件，连同原始字节和原因。", "What could be no entry of a ledger, with its bytes and the reason."),
    examples.DEAD_LETTER, ("reason", {str(reason): message for reason, message in REASONS.items()}),
)  # fmt: skip
MESSAGES: Final = (_ISSUED, _REDEEMED, _EXHAUSTED, _NOTIFICATION, _DEAD_LETTER)

_ISSUES: Final = Channel(
    "voucherIssued", VOUCHER_ISSUED, _ISSUED, Message("发放流", "Issues of a programme"),
    Message(
        "每个项目一条，由该项目的主管部门写入。来源不是该主管部门的事件成为死信。",
        "One for each programme, written by its authority. An event of another source becomes a dead letter.",
    ),
    "/data/programme",
)  # fmt: skip
_REDEMPTIONS: Final = Channel(
    "voucherRedeemed", VOUCHER_REDEEMED, _REDEEMED, Message("核销流", "Redemptions of a provider"),
    Message(
        "每个服务机构一条，以其统一社会信用代码命名，承载它在所有项目中的核销。",
        "One for each provider, named by its USCC; it carries the provider's redemptions of every programme.",
    ),
    "/data/provider",
)  # fmt: skip
_CLOSURES: Final = Channel(
    "quotaExhausted", QUOTA_EXHAUSTED, _EXHAUSTED, Message("额度关闭流", "Closures of quotas"),
    Message(
        "每个项目一条。主管部门可以写入；账本发现额度用完时也会写入。",
        "One for each programme. The authority may close a quota; the ledger does when an entry used one up.",
    ),
    "/data/programme",
)  # fmt: skip
_NOTIFICATIONS: Final = Channel(
    "notification", NOTIFICATION, _NOTIFICATION, Message("通知流", "Notifications of a programme"),
    Message(
        "每个项目一条。条目编号为 <位置>-0：记住处理过的最后一个编号，从它之后读起；流被删除后可由账本重建。",
        "One for each programme. An entry's id is <position>-0: keep the last one you handled, and read what comes after it. "
        "A stream that was lost is made again from the ledger.",
    ),
    "/data/policy/code", entry_id="<position>-0", group=None,
)  # fmt: skip
_LETTERS: Final = Channel(
    "deadLetter", DEAD_LETTER, _DEAD_LETTER, Message("死信流", "Dead letters"),
    Message(
        "只有一条，供运维人员查看、重放或丢弃。其条目的每个字段就是下列各项，而不是一个 JSON。",
        "One for all, for operators to read, replay or discard. The fields of its entries are those below, and no JSON.",
    ),
    group=None,
)  # fmt: skip
CHANNELS: Final = (_ISSUES, _REDEMPTIONS, _CLOSURES, _NOTIFICATIONS, _LETTERS)

OPERATIONS: Final = (
    Operation(
        "receiveVoucherIssued", "receive", _ISSUES, ("authority",), Message("裁定发放", "Decide issues"),
        f"XADD {VOUCHER_ISSUED.address} * {FIELD} <JSON>",
    ),
    Operation(
        "receiveVoucherRedeemed", "receive", _REDEMPTIONS, ("provider",), Message("裁定核销", "Decide redemptions"),
        f"XADD {VOUCHER_REDEEMED.address} * {FIELD} <JSON>",
    ),
    Operation(
        "receiveQuotaExhausted", "receive", _CLOSURES, ("authority", "ledger"), Message("关闭额度", "Close quotas"),
        f"XADD {QUOTA_EXHAUSTED.address} * {FIELD} <JSON>",
    ),
    Operation(
        "sendQuotaExhausted", "send", _CLOSURES, ("ledger",), Message("告知额度用完", "Tell of a quota that was used up"),
        f"XREADGROUP GROUP {GROUP} <consumer> STREAMS {QUOTA_EXHAUSTED.address} >",
    ),
    Operation(
        "sendNotification", "send", _NOTIFICATIONS, ("platform",), Message("告知裁定结果", "Tell of every entry"),
        f"XREAD BLOCK 5000 STREAMS {NOTIFICATION.address} <last id, 0 for the beginning>",
    ),
    Operation(
        "sendDeadLetter", "send", _LETTERS, ("operator",), Message("搁置无法裁定的事件", "Set aside what cannot be decided"),
        f"XRANGE {DEAD_LETTER.address} - +",
    ),
)  # fmt: skip

USERS: Final[dict[str, Message]] = {
    "authority": Message(
        "用户 authority-{programme}：可写该项目的发放流和额度关闭流。",
        "User authority-{programme}: may write the issues and the closures of its programme.",
    ),
    "provider": Message(
        "用户 provider-{USCC}：可写自己的核销流。", "User provider-{USCC}: may write its own stream of redemptions."
    ),
    "platform": Message(
        "用户 platform 或 platform-{name}：可读所有通知流。",
        "User platform, or platform-{name}: may read the notifications of every programme.",
    ),
    "operator": Message(
        "用户 operator：可查看各流，重放或丢弃死信。",
        "User operator: may look at every stream, and replay or discard dead letters.",
    ),
    "ledger": Message(
        "用户 ledger：账本自身的服务。", "User ledger: the services of the ledger themselves."
    ),
}  # fmt: skip

ABOUT: Final = """\
算力券账本：发放和核销以事件的形式写入 Redis（或 Valkey）流，账本逐一裁定，并把结果通知各平台。

除死信外，流的每个条目只有一个字段 `event`，其值是一个 CloudEvents 1.0 事件（结构化模式，UTF-8 编码的 JSON）。下文各消息的内容即该字段的值。

不确定事件是否送达时，再发一次：同一来源、同一编号、同一内容的事件永远只计一次。金额是以元为单位的十进制字符串，最多两位小数。\
事件中未列出的字段可以存在，会被忽略。

The ledger of compute vouchers: issues and redemptions are written as events to streams of Redis (or Valkey); the ledger decides each
of them, and tells platforms what it decided.

An entry of a stream has one field, `event`, whose value is a CloudEvent 1.0 in structured mode: JSON in UTF-8. What is said of a
message below is said of that value. Only a dead letter has other fields.

Send an event again whenever you are not sure that it arrived: the same id of the same source with the same content counts once, for
ever. Money is a decimal string of yuan with at most two decimals. Fields that are not named here may be there; they are ignored."""
