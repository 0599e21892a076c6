"""`collabd token` and the settings of identity, as an operator meets them; PyJWT reads the tokens."""

import re
import time

import jwt
import pytest

from support.processes import Node

NEW = "canary-new-secret-of-many-letters"
OLD = "canary-old-secret-of-many-letters"


@pytest.fixture(scope="module")
def node(children):
    """Only its subcommands are run."""
    return children.adopt(Node())


def token(node, *arguments, **settings):
    answer = node.run("token", *arguments, **({"JWT_SECRET": NEW} | settings))
    assert answer.returncode == 0, answer
    assert answer.stderr == ""
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", answer.stdout), "the token and nothing else"
    return answer.stdout.strip()


def claims(text, secret=NEW, **options):
    return jwt.decode(text, secret, algorithms=["HS256"], **options)


def test_the_least_that_is_asked_for(node):
    """A token lacks what every node demands, or says more than was asked for."""
    before = int(time.time())
    made = token(node, "--user", "ann")
    assert jwt.get_unverified_header(made) == {"alg": "HS256", "typ": "JWT"}
    said = claims(made)
    assert set(said) == {"sub", "jti", "iat", "exp"}
    assert said["sub"] == "ann"
    assert before <= said["iat"] <= time.time()
    assert said["exp"] - said["iat"] == 3600
    assert claims(token(node, "--user", "ann"))["jti"] != said["jti"], "each can be revoked alone"


def test_everything_that_can_be_asked_for(node):
    """An option is taken and forgotten."""
    made = token(
        node, "--user", "ann@example", "--name", "Änn B.", "--role", "service", "--ttl", "15m",
        "--session", "s1", "--session", "s:2",
        JWT_ISSUER="https://us.example", JWT_AUDIENCE="collab",
    )  # fmt: skip
    said = claims(made, issuer="https://us.example", audience="collab")
    assert said["sub"] == "ann@example"
    assert said["name"] == "Änn B."
    assert said["role"] == "service"
    assert said["sessions"] == ["s1", "s:2"]
    assert said["exp"] - said["iat"] == 900


@pytest.mark.parametrize("role", ["admin", "service", "agent"])
def test_every_role(node, role):
    """A role cannot be had, or comes out as another."""
    assert claims(token(node, "--user", "ann", "--role", role))["role"] == role


@pytest.mark.parametrize("ttl,seconds", [("1s", 1), ("30s", 30), ("2m", 120), ("1h", 3600), ("7d", 604_800)])
def test_every_unit_of_a_life(node, ttl, seconds):
    """A token lives an hour instead of a minute."""
    said = claims(token(node, "--user", "ann", "--ttl", ttl), options={"verify_exp": False})
    assert said["exp"] - said["iat"] == seconds


def test_the_first_secret_signs(node):
    """While secrets are changed, tokens are signed with the one that is on its way out."""
    made = token(node, "--user", "ann", JWT_SECRET=f"{NEW}, {OLD}")
    assert claims(made, NEW)["sub"] == "ann"
    with pytest.raises(jwt.InvalidSignatureError):
        claims(made, OLD)


def test_old_names_flags_and_an_open_node_have_a_secret_too(node):
    """The command knows fewer places of a setting than the node does."""
    assert claims(token(node, "--user", "ann", JWT_SECRET="", JWT_SECRET_KEY=OLD), OLD)
    assert claims(token(node, "--user", "ann", "--jwt-secret", OLD), OLD)
    assert claims(token(node, "--user", "ann", AUTH="open"))


@pytest.mark.parametrize(
    "settings,word",
    [
        ({}, "JWT_SECRET"),
        ({"JWKS_URL": "https://keys.example/jwks.json"}, "JWT_SECRET"),
        ({"JWT_SECRET": "hunter2"}, "16 characters"),
    ],
    ids=["none", "only keys of others", "too short"],
)
def test_without_a_secret_there_is_no_token(node, settings, word):
    """A script takes an empty line for a token, or the complaint gives the secret away."""
    answer = node.run("token", "--user", "ann", **settings)
    assert answer.returncode == 78, answer
    assert answer.stdout == ""
    assert word in answer.stderr
    assert "hunter2" not in answer.stderr


@pytest.mark.parametrize(
    "arguments,word",
    [
        ([], "--user"),
        (["--user", ""], "--user"),
        (["--user", "a{b}"], "'{'"),
        (["--user", "x" * 129], "129 bytes"),
        (["--user", "ann", "--name", "a\nb"], "control character"),
        (["--user", "ann", "--session", ".."], "dots only"),
        (["--user", "ann", "--role", "root"], "admin, service, agent"),
        *[(["--user", "ann", f"--ttl={ttl}"], "15m") for ttl in ("", "h", "0s", "-1h", "1.5h", "60", "1w", "9é", "9" * 30 + "d")],
    ],
)
def test_what_cannot_be_in_a_token_is_told(node, arguments, word):
    """A typing error becomes a token that no node takes, or one that lives for ever."""
    answer = node.run("token", *arguments, JWT_SECRET=NEW)
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert word in answer.stderr
    assert "panicked" not in answer.stderr
    assert NEW not in answer.stderr


def test_help_shows_no_secret(node):
    """The secret of the environment stands in a terminal that was only asked for help."""
    for arguments in (["--help"], ["token", "--help"], ["help", "token"]):
        answer = node.run(*arguments, JWT_SECRET=NEW)
        assert answer.returncode == 0, answer
        assert "token" in answer.stdout
        assert NEW not in answer.stdout + answer.stderr


# Settings of identity


def test_check_config_shows_identity_and_masks_secrets(node):
    """A secret stands in a terminal or a CI log, or a setting cannot be looked up."""
    answer = node.run(
        "check-config",
        JWT_SECRET_KEY=f"{NEW},https://{OLD}@canary.example",
        JWKS_URL="https://reader:canary@keys.example/jwks.json?key=canary",
        JWKS_REFRESH="60",
        JWKS_TIMEOUT="0.5",
        JWT_ISSUER="https://us.example",
        JWT_AUDIENCE="collab",
    )
    assert answer.returncode == 0, answer
    assert "canary" not in answer.stdout + answer.stderr
    assert set(answer.stdout.splitlines()) >= {
        "AUTH=token  # default",
        "HOST=0.0.0.0  # default",
        "JWT_SECRET=***  # environment JWT_SECRET_KEY",
        "JWKS_URL=https://reader:***@keys.example/jwks.json  # environment JWKS_URL",
        "JWKS_REFRESH=60  # environment JWKS_REFRESH",
        "JWKS_TIMEOUT=0.5  # environment JWKS_TIMEOUT",
        "JWT_ISSUER=https://us.example  # environment JWT_ISSUER",
        "JWT_AUDIENCE=collab  # environment JWT_AUDIENCE",
    }


def test_an_open_node_is_shown_as_one(node):
    """An operator cannot see that a node believes everybody."""
    shown = node.run("check-config").stdout.splitlines()
    assert "AUTH=open  # default" in shown
    assert "HOST=127.0.0.1  # default" in shown
    shown = node.run("check-config", JWT_SECRET=NEW, AUTH="open").stdout.splitlines()
    assert "AUTH=open  # environment AUTH" in shown
    assert "HOST=127.0.0.1  # default" in shown


@pytest.mark.parametrize(
    "settings,name",
    [
        ({"AUTH": "maybe"}, "AUTH"),
        ({"AUTH": "token"}, "AUTH"),
        ({"HOST": "0.0.0.0"}, "HOST"),
        ({"JWT_SECRET": "canary"}, "JWT_SECRET"),
        ({"JWT_SECRET": f"{NEW},"}, "JWT_SECRET"),
        ({"JWT_SECRET": "canary", "AUTH": "open"}, "JWT_SECRET"),
        ({"JWKS_URL": "reader:canary@keys.example"}, "JWKS_URL"),
        ({"JWKS_URL": "ftp://reader:canary@keys.example"}, "JWKS_URL"),
        ({"JWKS_REFRESH": "0"}, "JWKS_REFRESH"),
        ({"JWKS_TIMEOUT": "soon"}, "JWKS_TIMEOUT"),
    ],
)
def test_bad_settings_of_identity_are_refused(node, settings, name):
    """A node is open, or locked, that its owner believes to be otherwise."""
    answer = node.run("check-config", **settings)
    assert answer.returncode == 78, answer
    assert answer.stderr.startswith(f"collabd: {name}: "), answer
    assert "right is" in answer.stderr
    assert "canary" not in answer.stderr
