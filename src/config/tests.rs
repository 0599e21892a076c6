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
fn passwords_are_masked() {
    for (url, shown) in [
        ("redis://ann:pass@h:6379/0", "redis://ann:***@h:6379/0"),
        ("redis://:p@ss@h", "redis://:***@h"),
        ("redis://h:6379", "redis://h:6379"),
        ("nonsense", "***"),
    ] {
        assert_eq!(given(&[("REDIS_URL", url)]).shown("REDIS_URL"), shown);
    }
}

#[test]
fn kinds_of_redis_that_are_not_spoken_are_refused() {
    for url in ["redis-cluster://h:1", "http://h", "redis://"] {
        assert!(sentences(&[("REDIS_URL", url)])[0].starts_with("REDIS_URL"));
    }
    assert!(sentences(&[("REDIS_URL", "redis://127.0.0.1:6379/1")]).is_empty());
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
