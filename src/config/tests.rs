//! What people are told about their settings.

use super::*;

fn given(pairs: &[(&str, &str)]) -> Given {
    Given::collect(
        |_| None,
        |name| {
            let found = pairs.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        },
    )
}

fn sentences(pairs: &[(&str, &str)]) -> Vec<String> {
    match Config::read(&given(pairs)) {
        Ok(_) => Vec::new(),
        Err(bad) => bad.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_default_is_right() {
    assert_eq!(sentences(&[]), Vec::<String>::new());
    let config = Config::read(&given(&[])).unwrap();
    assert_eq!(config.listen, [SocketAddr::from(([127, 0, 0, 1], 8004))]);
    assert!(config.redis.is_none());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said = sentences(&[
        ("PORT", "abc"),
        ("LOG_LEVEL", "loud"),
        ("LEAVE_GRACE", "-1"),
    ]);
    assert_eq!(
        said,
        [
            "PORT: given \"abc\"; right is 1 to 65535",
            "LOG_LEVEL: given \"loud\"; right is DEBUG, INFO, WARNING, ERROR",
            "LEAVE_GRACE: given \"-1\"; right is 0 to 3600 s",
        ]
    );
}

#[test]
fn an_open_node_for_everyone_must_be_meant() {
    let said = sentences(&[("HOST", "0.0.0.0")]);
    assert!(said[0].contains("AUTH=open"), "{said:?}");
    assert!(sentences(&[("HOST", "0.0.0.0"), ("AUTH", "open")]).is_empty());
    let said = sentences(&[("LISTEN", "127.0.0.1:1,0.0.0.0:2")]);
    assert!(said[0].starts_with("LISTEN"), "{said:?}");
}

const SECRET: (&str, &str) = ("JWT_SECRET", "sixteen letters!");
const KEYS: (&str, &str) = ("JWKS_URL", "https://keys.example/jwks.json");

/// Which identity is in force, and where the node then listens.
#[test]
fn the_mode_follows_what_is_given() {
    let open = Some((None, [127, 0, 0, 1]));
    let token = |secrets, jwks| Some((Some((secrets, jwks)), [0, 0, 0, 0]));
    for (pairs, right) in [
        (&[][..], open),
        (&[("AUTH", "open")], open),
        (&[SECRET], token(1, false)),
        (&[KEYS], token(0, true)),
        (&[SECRET, KEYS], token(1, true)),
        (&[SECRET, ("AUTH", "TOKEN")], token(1, false)),
        (&[SECRET, ("AUTH", "open")], open),
        (
            &[("JWT_SECRET_KEY", "an older name for it")],
            token(1, false),
        ),
        (
            &[("JWT_SECRET", "the first of them, the second of them ")],
            token(2, false),
        ),
        (&[("AUTH", "token")], None),
        (&[("AUTH", "token"), ("JWT_ISSUER", "us")], None),
        (&[("AUTH", "maybe")], None),
        (&[SECRET, ("AUTH", "none")], None),
        (&[("JWT_SECRET", "fifteen letters")], None),
        (&[("JWT_SECRET", "sixteen letters!,short")], None),
        (&[("JWT_SECRET", "sixteen letters!,")], None),
        (&[("JWT_SECRET", "short"), ("AUTH", "open")], None),
        (&[("JWKS_URL", "keys.example")], None),
        (&[("JWKS_URL", "file:///keys")], None),
        (&[KEYS, ("JWKS_REFRESH", "0")], None),
        (&[KEYS, ("JWKS_TIMEOUT", "soon")], None),
    ] {
        let read = Config::read(&given(pairs)).ok().map(|config| {
            let auth = config.auth;
            let auth = auth
                .required
                .then(|| (auth.secrets.len(), auth.jwks.is_some()));
            let SocketAddr::V4(address) = config.listen[0] else {
                panic!("{pairs:?} listens on IPv6");
            };
            (auth, address.ip().octets())
        });
        assert_eq!(read, right, "{pairs:?}");
    }
}

#[test]
fn with_tokens_any_address_is_fine() {
    assert!(sentences(&[SECRET, ("HOST", "0.0.0.0")]).is_empty());
    let said = sentences(&[SECRET, ("AUTH", "open"), ("HOST", "0.0.0.0")]);
    assert!(said.is_empty(), "it was meant: {said:?}");
    let config = Config::read(&given(&[SECRET, ("HOST", "127.0.0.1")])).unwrap();
    assert!(config.listen[0].ip().is_loopback());
}

#[test]
fn what_is_in_force_is_shown() {
    let table = given(&[SECRET]).table();
    assert!(table.contains("AUTH=token  # default"), "{table}");
    assert!(table.contains("HOST=0.0.0.0  # default"), "{table}");
    let table = given(&[]).table();
    assert!(table.contains("AUTH=open  # default"), "{table}");
    assert!(table.contains("HOST=127.0.0.1  # default"), "{table}");
}

#[test]
fn settings_of_identity_arrive() {
    let pairs = [
        ("JWT_SECRET", "sixteen letters!, and another one of them"),
        ("JWKS_URL", "http://127.0.0.1:1/keys"),
        ("JWKS_REFRESH", "60"),
        ("JWKS_TIMEOUT", "0.5"),
        ("JWT_ISSUER", "https://us"),
        ("JWT_AUDIENCE", "collab"),
    ];
    let auth = Config::read(&given(&pairs)).unwrap().auth;
    assert_eq!(
        auth.secrets,
        ["sixteen letters!", "and another one of them"]
    );
    assert_eq!(auth.issuer.as_deref(), Some("https://us"));
    assert_eq!(auth.audience.as_deref(), Some("collab"));
    let jwks = auth.jwks.unwrap();
    assert_eq!(jwks.url, "http://127.0.0.1:1/keys");
    assert_eq!(jwks.refresh, Duration::from_secs(60));
    assert_eq!(jwks.timeout, Duration::from_millis(500));
}

#[test]
fn a_wrong_secret_is_told_of_and_not_shown() {
    let said = sentences(&[("JWT_SECRET_KEY", "hunter2")]);
    assert!(said[0].starts_with("JWT_SECRET: given \"***\""), "{said:?}");
    let url = given(&[("JWT_SECRET", "abc://hunter2@hunter2")]);
    assert_eq!(url.shown("JWT_SECRET"), "***");
    let url = given(&[("JWKS_URL", "https://ann:hunter2@host/keys?key=hunter2")]);
    assert_eq!(url.shown("JWKS_URL"), "https://ann:***@host/keys");
    assert_eq!(given(&[]).shown("JWT_SECRET"), "");
}

#[test]
fn passwords_are_masked() {
    for (url, shown) in [
        ("redis://ann:pass@h:6379/0", "redis://ann:***@h:6379/0"),
        ("redis://:p@ss@h", "redis://:***@h"),
        ("redis://h:6379", "redis://h:6379"),
        ("redis://pass@h", "redis://***@h"),
        ("redis://:pa?ss@h", "redis://***"),
        (
            "rediss-cluster://ann:pa/ss@h:1?node=i:2&node=j:3",
            "rediss-cluster://ann:***@h:1",
        ),
        (
            "redis-sentinel://:pass@h:1/2?sentinelServiceName=m&sentinelPassword=pass",
            "redis-sentinel://:***@h:1/2",
        ),
        (
            "redis-sentinel://u:pass@h?sentinelPassword=p@ss",
            "redis-sentinel://***",
        ),
        ("nonsense", "***"),
    ] {
        assert_eq!(given(&[("REDIS_URL", url)]).shown("REDIS_URL"), shown);
    }
}

#[test]
fn a_url_of_redis_that_would_not_do_what_it_says_is_refused() {
    for (url, why) in [
        ("http://h", "scheme"),
        ("redis-ring://h", "scheme"),
        ("redis:/h", "scheme"),
        ("redis://", "host"),
        ("redis://h/x", "not a number"),
        ("redis://h?node=i:1", "may only stand []"),
        ("redis://ann@h", "user without a password"),
        ("redis-cluster://h:1/3", "no databases"),
        ("redis-cluster://h:1?node=i", "host:port"),
        ("redis-cluster://h:1?nodes=i:1", "may only stand [\"node\"]"),
        ("redis-sentinel://h:1", "sentinel service name"),
    ] {
        let said = sentences(&[("REDIS_URL", url)]);
        assert!(said[0].starts_with("REDIS_URL"), "{said:?}");
        assert!(said[0].contains(why), "{url}: {said:?}");
    }
    for url in [
        "redis://127.0.0.1:6379/1",
        "redis-cluster://ann:pass@h:1?node=i:2&node=j:3",
        "redis-sentinel://h?sentinelServiceName=m&node=i:2&sentinelUsername=u&sentinelPassword=p",
    ] {
        assert_eq!(sentences(&[("REDIS_URL", url)]), Vec::<String>::new());
    }
}

#[test]
fn certificates_for_redis_must_be_readable_and_used() {
    let with = |url, ca| sentences(&[("REDIS_URL", url), ("REDIS_CA", ca)]);
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (url, ca, why) in [
        ("rediss://h", "/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("rediss-cluster://h:1", here, "no certificate"),
        ("redis://h", here, "no TLS"),
    ] {
        let said = with(url, ca);
        assert!(said[0].starts_with("REDIS_CA"), "{said:?}");
        assert!(said[0].contains(why), "{said:?}");
    }
}

#[test]
fn an_empty_value_is_none_and_old_names_count() {
    let given = given(&[("PORT", ""), ("ENV", "prod")]);
    assert_eq!(given.value("PORT"), "8004");
    assert_eq!(given.value("ENVIRONMENT"), "prod");
    assert!(
        given
            .table()
            .contains("ENVIRONMENT=prod  # environment ENV")
    );
}

/// Other services are asked where that is said, and as it is said.
#[test]
fn neighbours_are_asked_where_they_are_named() {
    let read = |pairs: &[(&str, &str)]| Config::read(&given(pairs)).unwrap().neighbours;
    let none = read(&[]);
    assert!(none.users.is_none() && none.agents.is_none());
    let url = ("USER_SERVICE_URL", "http://users:8001");
    assert!(!read(&[url]).users.unwrap().required);
    let users = read(&[
        url,
        ("USER_SERVICE_MODE", "require"),
        ("NEIGHBOUR_FAILURES", "7"),
    ]);
    let users = users.users.unwrap();
    assert!(users.required);
    assert_eq!(users.access.failures, 7);
    let agents = read(&[
        ("AI_AGENTS_URL", "https://agents/v2"),
        ("AI_AGENTS_TIMEOUT", "2"),
    ]);
    assert_eq!(agents.agents.unwrap().timeout, Duration::from_secs(2));
    // Told once, though both would use it.
    let said = sentences(&[url, ("NEIGHBOUR_PAUSE", "0")]);
    assert_eq!(
        said,
        ["NEIGHBOUR_PAUSE: given \"0\"; right is 0.1 to 3600 s"]
    );
}
