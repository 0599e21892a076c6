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

#[test]
fn a_secret_that_would_not_be_used_is_refused_and_not_shown() {
    let said = sentences(&[("JWT_SECRET_KEY", "hunter2")]);
    assert!(said[0].starts_with("JWT_SECRET: given \"***\""), "{said:?}");
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
