"""PyJWT at the other end: verifies a grant, or signs one. 0: yes; 3: PyJWT says no; else something went wrong."""

import json
import sys

import jwt


def verify(public, audience, token):
    with open(public, "rb") as file:
        key = file.read()
    try:
        # The times are those of a test, not of today.
        claims = jwt.decode(
            token,
            key,
            algorithms=["ES256", "EdDSA"],
            audience=audience,
            issuer="https://" + audience,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    print(json.dumps({"header": jwt.get_unverified_header(token), "claims": claims}))


def sign(secret, algorithm, kid, claims):
    with open(secret, "rb") as file:
        key = file.read()
    headers = {"kid": kid, "typ": "touchgate-grant+jwt"}
    print(jwt.encode(json.loads(claims), key, algorithm=algorithm, headers=headers))


{"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
