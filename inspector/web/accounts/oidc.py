"""Logging in at the plant's identity provider: OpenID Connect, authorisation code flow with PKCE.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636, RFC 9700. What the provider says of somebody counts if its
token is signed with a key that it publishes, is for us, is fresh, and answers the very question that this browser asked.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from inspector.access.identity import Role
from inspector.errors import AccessDenied, InvalidRequest, ServiceUnreachable
from inspector.web.accounts.user import user_name

ASK_S, MAX_ASKED = 600.0, 1024
"""How long somebody may take at the provider, and how many may be there at once."""
BELIEVED_S = 3600.0
TIMEOUT_S = 10.0
LEEWAY_S = 60
# Signatures alone: whoever knows our secret must not be able to sign for the provider.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True, slots=True)
class OidcOptions:
    """Where people log in, and what its groups may do. `ca` is the PEM of the authority that its certificate is from."""

    issuer: str
    client: str
    secret: str
    roles: Mapping[str, Role]
    name_claim: str
    groups_claim: str
    redirect: str
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What one browser asked the provider: its answer must fit."""

    nonce: str
    verifier: str
    target: str
    browser: str
    until_s: float


class Provider:
    """The identity provider. For one event loop."""

    def __init__(self, options: OidcOptions, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Question] = OrderedDict()
        self._metadata: tuple[Mapping[str, Any], float] | None = None
        self._verify: ssl.SSLContext | bool = (
            True if options.ca is None else ssl.create_default_context(cafile=str(options.ca))
        )

    async def ask(self, target: str, browser: str) -> str:
        """Where to send a browser that has the secret `browser`; it comes back for `target`. ServiceUnreachable."""
        metadata = await self._about()
        state = secrets.token_urlsafe(32)
        question = Question(
            secrets.token_urlsafe(32), secrets.token_urlsafe(48), target, browser, self._monotonic() + ASK_S
        )
        with self._lock:
            self._asked[state] = question
            while len(self._asked) > MAX_ASKED:
                self._asked.popitem(last=False)
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=question.nonce, code_verifier=question.verifier
            )
        return str(url)

    async def answer(self, state: str, code: str, browser: str) -> tuple[str, Role, str]:
        """Who came back: name, role, and where they wanted to go. AccessDenied, ServiceUnreachable."""
        with self._lock:
            question = self._asked.pop(state, None)
        if question is None or question.until_s < self._monotonic():
            raise AccessDenied("this answer of the identity provider was not asked for, or took too long: log in again")
        if not hmac.compare_digest(question.browser, browser):
            raise AccessDenied(
                "this answer of the identity provider belongs to another browser: log in again in this one"
            )
        metadata = await self._about()
        try:
            async with self._client() as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"],
                    code=code,
                    code_verifier=question.verifier,
                    grant_type="authorization_code",
                )
                keys = (await client.request("GET", metadata["jwks_uri"], withhold_token=True)).json()
        except (OAuthError, httpx.HTTPError, ValueError) as error:
            raise ServiceUnreachable(
                f"the identity provider {self.options.issuer} refuses the login: {error}"
            ) from error
        claims = check_id_token(str(token.get("id_token", "")), keys, self.options, question.nonce, time.time())
        return *who_is(claims, self.options), question.target

    async def _about(self) -> Mapping[str, Any]:
        """What the provider says of itself."""
        if self._metadata is not None and self._metadata[1] > self._monotonic():
            return self._metadata[0]
        url = f"{self.options.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, verify=self._verify) as client:
                found = (await client.get(url)).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceUnreachable(
                f"the identity provider {self.options.issuer} does not answer ({error}): log in with a password, or try later"
            ) from error
        needed = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(found, dict) or any(not isinstance(found.get(key), str) for key in needed):
            raise ServiceUnreachable(f"{url} is no description of an identity provider: correct web.oidc.issuer")
        if found["issuer"].rstrip("/") != self.options.issuer.rstrip("/"):
            raise ServiceUnreachable(f"{url} describes {found['issuer'][:200]!r}: correct web.oidc.issuer")
        self._metadata = (found, self._monotonic() + BELIEVED_S)
        return found

    def _client(self) -> Any:
        return AsyncOAuth2Client(
            self.options.client,
            self.options.secret,
            scope="openid profile email",
            redirect_uri=self.options.redirect,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            verify=self._verify,
        )


def check_id_token(token: str, keys: Any, options: OidcOptions, nonce: str, now_s: float) -> Mapping[str, Any]:
    """The claims of a token that counts. AccessDenied for any other."""
    try:
        decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS))
        registry = jwt.JWTClaimsRegistry(
            now=int(now_s),
            leeway=LEEWAY_S,
            iss={"essential": True, "values": [options.issuer, options.issuer.rstrip("/"), f"{options.issuer}/"]},
            aud={"essential": True, "value": options.client},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        registry.validate(decoded.claims)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AccessDenied(f"the identity provider's token does not count ({error}): log in again") from error
    claims: Mapping[str, Any] = decoded.claims
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if len(audiences) > 1 and claims.get("azp") != options.client:
        raise AccessDenied(
            "the identity provider's token is for several programs and was given to another: log in again"
        )
    return claims


def who_is(claims: Mapping[str, Any], options: OidcOptions) -> tuple[str, Role]:
    """Name and role of somebody; the highest of the roles of their groups. AccessDenied for who has none."""
    name, groups = claims.get(options.name_claim), claims.get(options.groups_claim, [])
    if not isinstance(name, str) or not name:
        raise AccessDenied(
            f"the identity provider gives no name as {options.name_claim!r}: correct web.oidc.name_claim"
        )
    try:
        kept = user_name(name)
    except InvalidRequest as error:
        raise AccessDenied(f"the identity provider's name {name[:80]!r} cannot be used here: {error}") from error
    listed = groups if isinstance(groups, list) else [groups]
    roles = [options.roles[group] for group in listed if isinstance(group, str) and group in options.roles]
    if not roles:
        raise AccessDenied(f"{kept} is in none of the groups {', '.join(options.roles)}: ask who manages them for one")
    return kept, max(roles)
