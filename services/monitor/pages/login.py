"""Where a key opens a session. The form is sent to the server as it is: it needs no script."""

from markupsafe import Markup

from services.monitor.frame import View
from services.monitor.live import Text, prose


async def build(view: View, back: str, *, wrong: bool) -> None:
    """Show the form; ``back`` is where to go on."""
    said = view.words
    Text(said.log_in, tag="h1")
    if not view.site.sessions.has_keys:
        Text(said.no_keys, classes="note")
        Text(prose(said.key_hint), classes="note")
        return
    if not view.reader.may_read:
        Text(said.log_in_first, classes="note")
    if wrong:
        Text(Markup('<p class="wrong" role="alert">{}</p>').format(said.wrong_key))
    form = Markup(
        '<form method="post" action="/login" class="login">'
        '<input type="hidden" name="back" value="{back}"><label for="key">{key}</label>'
        '<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>'
        "<button>{log_in}</button></form>"
    )
    Text(form.format(back=back, key=said.key, log_in=said.log_in))
    Text(prose(said.key_hint), classes="note")
