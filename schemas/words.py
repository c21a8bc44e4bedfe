"""What the contract's streams, messages and fields are called, in Chinese and in English, and why a dead letter is one."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.codes import DeadLetterReason, Message

FIELDS: Final[dict[str, Message]] = {
    # The envelope of a CloudEvent
    "specversion": Message("CloudEvents 版本", "version of CloudEvents"),
    "id": Message("事件编号，同一来源内唯一", "the event's number, unique with its source"),
    "source": Message("来源：生产者", "who says it"),
    "type": Message("事件类型", "type of the event"),
    "subject": Message("事件所说的券、单位或项目", "the voucher, enterprise or programme that it is about"),
    "time": Message("发生时间（须带时区）", "when it happened, with its offset"),
    "traceparent": Message("链路追踪：事件自带的，原样带出", "for tracing: the event's own, carried on"),
    "datacontenttype": Message("数据格式", "format of the data"),
    "data": Message("数据", "the data"),
    # Issues
    "programme": Message("项目代码", "the programme's code"),
    "voucher_id": Message("算力券编号，项目内唯一", "the voucher's number, unique in its programme"),
    "kind": Message("券种：现金或实物", "kind of voucher"),
    "amount": Message("金额（元）", "amount, in yuan"),
    "enterprise": Message("单位的统一社会信用代码", "the enterprise's USCC"),
    "IssuedData.enterprise": Message("申领单位", "the enterprise that it is issued to"),
    "contract": Message("服务合同", "the service contract"),
    "valid_until": Message("有效期至（含当日）", "the last day on which it may be used"),
    "uscc": Message("统一社会信用代码", "USCC, the unified social credit code"),
    "name": Message("单位名称", "the enterprise's name"),
    "organisation": Message("单位类型", "kind of organisation"),
    "size": Message("企业规模", "size of the enterprise"),
    "industry": Message("所属行业", "industry"),
    "region": Message("注册地", "region"),
    "prior_year_revenue": Message("上年度主营业务收入（元）", "main revenue of the year before, in yuan"),
    "number": Message("合同编号", "the contract's number"),
    "fee": Message("合同费用（元）", "the contract's fee, in yuan"),
    "signed_on": Message("签订日期", "day of signature"),
    "ends_on": Message("到期日期", "last day of the contract"),
    "provider": Message("服务机构的统一社会信用代码", "the provider's USCC"),
    # Redemptions
    "redemption_id": Message("核销编号，服务机构内唯一", "the redemption's number, unique with its provider"),
    "order_number": Message("订单编号", "the order's number"),
    "invoice_number": Message("发票号码", "the invoice's number"),
    "item": Message("所购内容", "what was bought"),
    # Exhausted quotas
    "scope": Message("范围：单个单位或整个项目", "whose quota: one enterprise's, or the whole programme's"),
    "period": Message(
        "额度所属期间：年份，或整个项目", "the period that the quota counts over: a year, or the programme"
    ),
    "reason": Message("原因", "why"),
    # Notifications
    "Notification.id": Message("<项目>:<位置>", "the programme and the entry's position in its ledger"),
    "Notification.source": Message("来源：该项目的账本", "the programme's ledger"),
    "Notification.time": Message("记账时间", "when the ledger recorded it"),
    "position": Message("账本中的位置，从 1 起连续", "position in the ledger: 1, 2, 3 … without a gap"),
    "outcome": Message("裁定：受理或拒绝", "what was decided"),
    "code": Message("拒绝原因代码，或说明按上限核减", "why it was refused, or that it was cut to the cap"),
    "message": Message("给人看的说明", "the same for people"),
    "zh": Message("中文", "in Chinese"),
    "en": Message("英文", "in English"),
    "event": Message("所裁定的原始事件", "the inbound event that was decided"),
    "policy": Message("所适用的规则", "the rules that were applied"),
    "PolicyReference.code": Message("项目代码", "the programme's code"),
    "digest": Message("规则文件的 SHA-256", "SHA-256 of the rules"),
    "granted": Message("核定金额（元）", "amount granted, in yuan"),
    "voucher_remaining": Message("此后券的余额（元）", "what is left of the voucher after it, in yuan"),
    "quota_used": Message("此后该单位已用额度（元）", "what is used of the enterprise's quota after it, in yuan"),
    "quota_limit": Message("该单位的额度（元）", "the enterprise's quota, in yuan"),
    "budget_remaining": Message("此后项目剩余预算（元）", "what is left of the budget after it, in yuan"),
    "payable": Message("此后应付该服务机构累计（元）", "what the provider is owed in all after it, in yuan"),
    "quota_warning": Message("额度预警（百分比）", "the share of the quota that this entry reached, in percent"),
    "hash": Message("条目的哈希（叶子）", "hash of the entry, its leaf"),
    # Dead letters
    "DeadLetter.event": Message("生产者发来的原始字节", "the producer's own bytes"),
    "DeadLetter.reason": Message("原因代码", "why it could not be decided"),
    "stream": Message("来自哪条流", "the stream that it came from"),
    "entry_id": Message("在该流中的编号", "its id there"),
    "detail": Message("具体错在哪里", "what exactly is wrong"),
    "failed_at": Message("成为死信的时间", "when it became a dead letter"),
}
"""By a field's name, or by its model's and its own where that means something else."""

REASONS: Final[dict[DeadLetterReason, Message]] = {
    DeadLetterReason.NOT_JSON: Message("不是 UTF-8 编码的 JSON。", "It is not JSON in UTF-8."),
    DeadLetterReason.NOT_CLOUDEVENT: Message(
        "不是 CloudEvents 1.0 事件，或缺少字段 event。", "It is no CloudEvent 1.0, or the field is missing."
    ),
    DeadLetterReason.UNKNOWN_TYPE: Message("事件类型未知。", "Its type is not known."),
    DeadLetterReason.INVALID_DATA: Message("数据缺少字段或格式有误。", "A field of its data is missing or wrong."),
    DeadLetterReason.WRONG_STREAM: Message(
        "该生产者无权在这条流上发布此事件。", "Its producer, programme or type does not belong on this stream."
    ),
    DeadLetterReason.PROGRAMME_UNKNOWN: Message("没有这个项目。", "There is no such programme."),
    DeadLetterReason.ID_REUSED_WITH_OTHER_CONTENT: Message(
        "同一来源的同一编号已用于另一内容。", "Its source has used the id before, for something else."
    ),
    DeadLetterReason.UNDECIDABLE: Message(
        "本系统自身的错误，修复后可重放。", "A mistake of ours; replay it once that is mended."
    ),
}


def both(message: Message) -> str:
    """Return the words in both languages, as one line."""
    return f"{message.zh} · {message.en}"


def entitle(model: str, schema: dict[str, Any]) -> None:
    """Give each property of a model's JSON Schema its title in both languages; a field without words keeps its own."""
    properties: Mapping[str, dict[str, Any]] = schema.get("properties", {})
    for name, described in properties.items():
        words = FIELDS.get(f"{model}.{name}") or FIELDS.get(name)
        if words is not None:
            described["title"] = both(words)
