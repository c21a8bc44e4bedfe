"""The codes of the contract, in their order of precedence, with what each says to a person, in Chinese and in English."""

from enum import StrEnum
from typing import Final, NamedTuple


class Code(StrEnum):
    """Why an entry was refused (or, for the last one, clamped). The first that applies, in this order, is the one given."""

    PROGRAMME_NOT_OPEN = "programme_not_open"
    PROGRAMME_CLOSED = "programme_closed"
    ENTERPRISE_INVALID = "enterprise_invalid"
    ORGANISATION_NOT_ELIGIBLE = "organisation_not_eligible"
    SIZE_NOT_ELIGIBLE = "size_not_eligible"
    INDUSTRY_NOT_ELIGIBLE = "industry_not_eligible"
    REGION_NOT_ELIGIBLE = "region_not_eligible"
    REVENUE_BELOW_MINIMUM = "revenue_below_minimum"
    PROVIDER_NOT_ACCREDITED = "provider_not_accredited"
    CONTRACT_NOT_ELIGIBLE = "contract_not_eligible"
    CONTRACT_ALREADY_USED = "contract_already_used"
    KIND_NOT_OFFERED = "kind_not_offered"
    VOUCHER_EXISTS = "voucher_exists"
    EXCEEDS_CONTRACT_SHARE = "exceeds_contract_share"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    QUOTA_CLOSED = "quota_closed"
    EXCEEDS_ANNUAL_CAP = "exceeds_annual_cap"
    EXCEEDS_BUDGET = "exceeds_budget"
    VOUCHER_UNKNOWN = "voucher_unknown"
    VOUCHER_NOT_ACTIVE = "voucher_not_active"
    VOUCHER_EXPIRED = "voucher_expired"
    ITEM_NOT_COVERED = "item_not_covered"
    REDEMPTION_EXISTS = "redemption_exists"
    EXCEEDS_VOUCHER_BALANCE = "exceeds_voucher_balance"
    CLAMPED_TO_CAP = "clamped_to_cap"


class DeadLetterReason(StrEnum):
    """Why an entry of a stream could not become an entry of a ledger."""

    NOT_JSON = "not_json"
    NOT_CLOUDEVENT = "not_cloudevent"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_DATA = "invalid_data"
    WRONG_STREAM = "wrong_stream"
    PROGRAMME_UNKNOWN = "programme_unknown"
    ID_REUSED_WITH_OTHER_CONTENT = "id_reused_with_other_content"
    UNDECIDABLE = "undecidable"


class Message(NamedTuple):
    """One sentence for people, in both languages."""

    zh: str
    en: str


ACCEPTED: Final = Message("已受理。", "Accepted.")

MESSAGES: Final[dict[Code, Message]] = {
    Code.PROGRAMME_NOT_OPEN: Message("该日期早于本项目开始日期。", "The programme was not yet open on that date."),
    Code.PROGRAMME_CLOSED: Message("该日期晚于本项目结束日期。", "The programme had closed by that date."),
    Code.ENTERPRISE_INVALID: Message(
        "企业的统一社会信用代码无效。", "The enterprise's unified social credit code is not valid."
    ),
    Code.ORGANISATION_NOT_ELIGIBLE: Message("该类单位不在支持范围内。", "This kind of organisation is not eligible."),
    Code.SIZE_NOT_ELIGIBLE: Message(
        "企业规模不在支持范围内，或未填写。", "The enterprise's size is not eligible, or was not given."
    ),
    Code.INDUSTRY_NOT_ELIGIBLE: Message(
        "所属行业不在支持范围内，或未填写。", "The industry is not eligible, or was not given."
    ),
    Code.REGION_NOT_ELIGIBLE: Message(
        "注册地不在支持范围内，或未填写。", "The region is not eligible, or was not given."
    ),
    Code.REVENUE_BELOW_MINIMUM: Message(
        "上年度主营业务收入低于最低要求，或未填写。", "The prior year's revenue is under the minimum, or was not given."
    ),
    Code.PROVIDER_NOT_ACCREDITED: Message(
        "该算力服务机构未列入本项目名单。", "The provider is not accredited for this programme."
    ),
    Code.CONTRACT_NOT_ELIGIBLE: Message(
        "合同签订日期或期限不符合要求。", "The contract's date or term is not eligible."
    ),
    Code.CONTRACT_ALREADY_USED: Message("该合同已领取过算力券。", "A voucher was already issued for this contract."),
    Code.KIND_NOT_OFFERED: Message("本项目不发放该类算力券。", "The programme does not offer this kind of voucher."),
    Code.VOUCHER_EXISTS: Message("该券号已发放。", "A voucher with this number was already issued."),
    Code.EXCEEDS_CONTRACT_SHARE: Message(
        "金额超过合同费用的支持比例。", "The amount is over the programme's share of the contract fee."
    ),
    Code.BELOW_MINIMUM: Message("金额低于最低支持金额。", "The amount is under the programme's minimum."),
    Code.ABOVE_MAXIMUM: Message(
        "金额高于单张算力券的最高金额。", "The amount is over the programme's maximum for one voucher."
    ),
    Code.QUOTA_CLOSED: Message("本期额度已用完并关闭。", "The quota for this period is closed."),
    Code.EXCEEDS_ANNUAL_CAP: Message(
        "超过该单位的年度累计上限。", "The amount would pass the enterprise's cap for the period."
    ),
    Code.EXCEEDS_BUDGET: Message("超过本项目剩余预算。", "The amount is over what is left of the programme's budget."),
    Code.VOUCHER_UNKNOWN: Message(
        "在等待期内未收到该算力券的发放记录。", "No voucher with this number was issued within the wait."
    ),
    Code.VOUCHER_NOT_ACTIVE: Message("该算力券当前不可使用。", "The voucher is not active."),
    Code.VOUCHER_EXPIRED: Message("使用日期晚于该算力券有效期。", "The voucher had expired on the date of use."),
    Code.ITEM_NOT_COVERED: Message(
        "该类算力券不能用于所购内容。", "This kind of voucher does not cover what was bought."
    ),
    Code.REDEMPTION_EXISTS: Message("该核销编号已使用。", "A redemption with this number was already accepted."),
    Code.EXCEEDS_VOUCHER_BALANCE: Message("金额超过该算力券余额。", "The amount is over what is left on the voucher."),
    Code.CLAMPED_TO_CAP: Message(
        "已按年度上限的剩余额度发放。", "Granted in part: what was left under the cap for the period."
    ),
}
