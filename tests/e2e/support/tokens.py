"""Tokens as an issuer makes them, by PyJWT, and every one of them remembered: none may stand in a log."""

import time

import jwt

SECRET = "canary-secret-of-the-nodes-0123456789-abcdefghijklmnopqrstuvwxyz-64"
# Every token made, good or bad.
minted = []


def token(sub="ann", key=SECRET, algorithm="HS256", kid=None, **claims):
    """Ten minutes long unless `exp` is said; a claim that is None is left out."""
    said = {"sub": sub, "exp": int(time.time()) + 600} | claims
    said = {claim: value for claim, value in said.items() if value is not None}
    made = jwt.encode(said, key, algorithm, headers={"kid": kid} if kid else None)
    minted.append(made)
    return made


def bearer(made):
    return {"Authorization": f"Bearer {made}"}
