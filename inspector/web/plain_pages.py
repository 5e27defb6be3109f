"""Pages without a script, for who is not logged in or may not see what they asked for. All text in them is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

# No script at all, and nothing but our own style sheet.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_FRAME = """<!doctype html>
<html lang="en" data-theme="auto">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · {line}</title><link rel="stylesheet" href="/static/desk.css">
</head>
<body class="plain"><main class="plain-card">
<div class="plain-brand"><span class="brand-mark" aria-hidden="true"></span>Inspector <span class="muted">{line}</span></div>
{content}
</main></body></html>
"""


def plain_page(line: str, title: str, text: str) -> str:
    """A page that says one thing and leads back."""
    content = f'<h1>{escape(title)}</h1><p>{escape(text)}</p><p><a href="/">Back to the line</a></p>'
    return _FRAME.format(title=escape(title), line=escape(line), content=content)


def login_page(line: str, target: str, name: str = "", error: str = "", note: str = "", oidc: bool = False) -> str:
    """Where people log in. `target` is where they go then, `error` why they could not, `note` why they must."""
    told = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    told += f'<p class="note">{escape(note)}</p>' if note else ""
    other = ""
    if oidc:
        # A link, not a form: the policy keeps forms from leading elsewhere.
        where = escape(f"/oidc/start?{urlencode({'next': target})}")
        other = f"""<a class="second" href="{where}">Log in with the plant's account</a>"""
    first = "" if name else " autofocus"
    second = " autofocus" if name else ""
    content = f"""<h1>Log in</h1>{told}
<form method="post" action="/login">
<input type="hidden" name="next" value="{escape(target)}">
<label>Name
<input name="name" autocomplete="username" autocapitalize="none" required maxlength="64" value="{escape(name)}"{first}></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" required maxlength="1024"{second}></label>
<button type="submit">Log in</button>
</form>{other}"""
    return _FRAME.format(title="Log in", line=escape(line), content=content)
