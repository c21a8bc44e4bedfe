"""What a reader prefers: the language and the light. From a cookie, else as the browser says."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from starlette.requests import Request

Language = Literal["zh", "en"]
Light = Literal["auto", "light", "dark"]

LANGUAGE_COOKIE: Final = "voucher_ledger_language"
LIGHT_COOKIE: Final = "voucher_ledger_light"


@dataclass(frozen=True, slots=True)
class Preferences:
    """A reader's language and light."""

    language: Language
    light: Light

    @property
    def dark(self) -> bool | None:
        """Whether the page is dark; None where the browser decides."""
        return {"auto": None, "light": False, "dark": True}[self.light]


def preferences(request: Request) -> Preferences:
    """Return what the reader of a page prefers."""
    language, light = request.cookies.get(LANGUAGE_COOKIE), request.cookies.get(LIGHT_COOKIE)
    return Preferences(
        language="zh"
        if language == "zh"
        else "en"
        if language == "en"
        else spoken(request.headers.get("accept-language", "")),
        light="light" if light == "light" else "dark" if light == "dark" else "auto",
    )


def spoken(accepted: str) -> Language:
    """Return the one of our languages that an Accept-Language header puts first; Chinese where it names neither."""
    wishes: list[tuple[float, int, Language]] = []
    for place, wish in enumerate(accepted.split(",")):
        tag, _, weight = wish.strip().lower().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        name = tag.split("-")[0]
        if name == "zh":
            wishes.append((-quality, place, "zh"))
        elif name == "en":
            wishes.append((-quality, place, "en"))
    return min(wishes)[2] if wishes else "zh"


def local(path: str) -> str:
    """Return a path of this page's own to go back to; the first page where it is another's."""
    is_local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return quote(path, safe="/?=&%:.,+-_~") if is_local else "/"
