//! Guards the rules: which tokens are believed, and what is told of the others.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::*;

/// The time in all tests, in Unix seconds.
pub(super) const NOW: i64 = 1_762_943_400;
pub(super) const OLD: &str = "an old secret of 31 characters!";
pub(super) const NEW: &str = "a new secret of 31 characters !";

/// A key pair of an issuer.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    pub(super) fn ec() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        Self {
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            public: json!({"kty": "EC", "crv": "P-256", "x": bytes(x), "y": bytes(y)}),
        }
    }

    pub(super) fn ed() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = bytes(pair.public_key_raw());
        Self {
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(&pair.serialize_der()),
            public: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
        }
    }

    /// One for all tests: making it takes long.
    pub(super) fn rsa() -> &'static Self {
        static RSA: LazyLock<Signer> = LazyLock::new(|| {
            let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
            let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
            let public = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
            Signer {
                algorithm: Algorithm::RS256,
                key,
                public: serde_json::to_value(public).unwrap(),
            }
        });
        &RSA
    }

    /// Its public half, as a host publishes it.
    pub(super) fn published(&self, kid: &str) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = format!("{:?}", self.algorithm).into();
        jwk
    }

    /// A good token of ann's that names this key.
    pub(super) fn token(&self, kid: &str) -> String {
        let header = json!({"alg": format!("{:?}", self.algorithm), "kid": kid});
        self.sign(&header, &ann())
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, &self.key, self.algorithm)
    }
}

fn bytes(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn encoded(part: &Value) -> String {
    bytes(part.to_string().as_bytes())
}

fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(super) fn with_secret(secret: impl AsRef<[u8]>, header: &Value, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_ref());
    signed(header, claims, &key, Algorithm::HS256)
}

/// Claims that are enough.
pub(super) fn ann() -> Value {
    json!({"sub": "ann", "exp": NOW + 60})
}

/// These claims, with one more or another.
fn ann_with(claim: &str, said: Value) -> Value {
    let mut claims = ann();
    claims[claim] = said;
    claims
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn config() -> Config {
    Config {
        secrets: vec![NEW.to_owned(), OLD.to_owned()],
        ..Config::default()
    }
}

/// Without JWKS nothing is waited for.
fn verified(config: Config, token: &str) -> Result<Identity, BadToken> {
    let verifier = Verifier::new(config).unwrap();
    let verified = verifier.verify(token, NOW * 1_000).now_or_never();
    verified.expect("secrets are at hand")
}

fn said(claims: &Value) -> Result<Identity, BadToken> {
    verified(config(), &with_secret(NEW, &hs256(), claims))
}

#[test]
fn every_claim_arrives() {
    let identity = said(&json!({
        "sub": "ann", "exp": NOW + 60, "nbf": NOW, "iat": NOW, "name": "Ann B.", "role": "agent",
        "sessions": ["s1", "s2"], "jti": "t-1", "iss": "anyone", "aud": "anything", "email": "a@b",
    }))
    .unwrap();
    let session = |id| SessionId::parse(id).unwrap();
    let right = Identity {
        user: UserId::parse("ann").unwrap(),
        name: Some("Ann B.".into()),
        role: Some(Role::Agent),
        sessions: Some(vec![session("s1"), session("s2")]),
        id: Some("t-1".into()),
        expires_at: NOW + 60,
    };
    assert_eq!(identity, right);
    assert!(identity.admits(&session("s2")));
    assert!(!identity.admits(&session("s3")));
    assert!(said(&ann()).unwrap().admits(&session("s3")));
    let nowhere = said(&ann_with("sessions", json!([]))).unwrap();
    assert!(!nowhere.admits(&session("s1")));
}

#[test]
fn every_secret_verifies_and_no_other() {
    for secret in [NEW, OLD] {
        let token = with_secret(secret, &hs256(), &ann());
        assert!(verified(config(), &token).is_ok(), "{secret}");
    }
    let stranger = with_secret("nobody's secret", &hs256(), &ann());
    assert_eq!(verified(config(), &stranger), Err(BadToken::Signature));
}

/// What is not a token at all, or claims to be signed in a way it must not be.
#[test]
fn forgeries_are_refused() {
    let good = with_secret(NEW, &hs256(), &ann());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other_claims = encoded(&ann_with("sub", json!("root")));
    let unsigned = |alg: &str| format!("{}.{claims}.", encoded(&json!({"alg": alg})));
    let algorithm = |shown: &str| BadToken::Algorithm(shown.to_owned(), "HS256");
    let too_long = |bytes| BadToken::TooLong { bytes, most: 8_192 };
    let crit = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    for (token, right) in [
        (String::new(), BadToken::Malformed),
        ("a.b".to_owned(), BadToken::Malformed),
        ("..".to_owned(), BadToken::Malformed),
        (format!("{good}.x"), BadToken::Malformed),
        (format!("{{}}.{claims}.{signature}"), BadToken::Malformed),
        (format!("{header}.{claims}"), BadToken::Malformed),
        (
            format!("{claims}.{claims}.{signature}"),
            BadToken::Malformed,
        ),
        (
            with_secret(NEW, &hs256(), &json!("ann")),
            BadToken::Malformed,
        ),
        (
            with_secret(NEW, &json!({"alg": 256}), &ann()),
            BadToken::Malformed,
        ),
        (unsigned("none"), algorithm("none")),
        (unsigned("NONE"), algorithm("NONE")),
        (unsigned("hs256"), algorithm("hs256")),
        (unsigned("HS512"), algorithm("HS512")),
        (unsigned("RS256"), algorithm("RS256")),
        (unsigned(&"x".repeat(99)), algorithm("xxxxxxxxxxxxxxxx")),
        (Signer::rsa().token("a"), algorithm("RS256")),
        (unsigned("HS256"), BadToken::Signature),
        (
            format!("{header}.{claims}.{}", encoded(&json!(1))),
            BadToken::Signature,
        ),
        (
            format!("{header}.{claims}.{signature}="),
            BadToken::Signature,
        ),
        (format!("{header}.{claims}.!"), BadToken::Signature),
        (
            format!("{header}.{other_claims}.{signature}"),
            BadToken::Signature,
        ),
        (with_secret(NEW, &crit, &ann()), BadToken::Critical),
        ("x".repeat(100_000), too_long(100_000)),
        ("x".repeat(8_193), too_long(8_193)),
        ("x".repeat(8_192), BadToken::Malformed),
    ] {
        assert_eq!(verified(config(), &token), Err(right), "{token:.200}");
    }
}

#[test]
fn claims_are_checked() {
    let bad = |claim| move |told: &BadToken| matches!(told, BadToken::BadClaim { claim: named, .. } if *named == claim);
    let is = |right: BadToken| move |told: &BadToken| *told == right;
    let lacks = |claim: &str| {
        let mut claims = ann();
        claims.as_object_mut().unwrap().remove(claim);
        claims
    };
    type Check = Box<dyn Fn(&BadToken) -> bool>;
    let table: Vec<(Value, Check)> = vec![
        (lacks("sub"), Box::new(is(BadToken::MissingClaim("sub")))),
        (lacks("exp"), Box::new(is(BadToken::MissingClaim("exp")))),
        (
            ann_with("sub", Value::Null),
            Box::new(is(BadToken::MissingClaim("sub"))),
        ),
        (
            ann_with("exp", Value::Null),
            Box::new(is(BadToken::MissingClaim("exp"))),
        ),
        (ann_with("sub", json!("")), Box::new(bad("sub"))),
        (ann_with("sub", json!("a{b}")), Box::new(bad("sub"))),
        (
            ann_with("sub", json!("x".repeat(129))),
            Box::new(bad("sub")),
        ),
        (ann_with("sub", json!(7)), Box::new(bad("sub"))),
        (ann_with("exp", json!("soon")), Box::new(bad("exp"))),
        (ann_with("exp", json!([NOW + 60])), Box::new(bad("exp"))),
        (ann_with("nbf", json!(true)), Box::new(bad("nbf"))),
        (ann_with("name", json!("")), Box::new(bad("name"))),
        (ann_with("name", json!("a\nb")), Box::new(bad("name"))),
        (
            ann_with("name", json!("x".repeat(129))),
            Box::new(bad("name")),
        ),
        (ann_with("name", json!({})), Box::new(bad("name"))),
        (ann_with("sessions", json!("s1")), Box::new(bad("sessions"))),
        (
            ann_with("sessions", json!(["s1", ".."])),
            Box::new(bad("sessions")),
        ),
        (
            ann_with("sessions", json!(["s1", 2])),
            Box::new(bad("sessions")),
        ),
        (ann_with("jti", json!("")), Box::new(bad("jti"))),
        (
            ann_with("jti", json!("x".repeat(129))),
            Box::new(bad("jti")),
        ),
        (ann_with("jti", json!(1)), Box::new(bad("jti"))),
        (
            ann_with("exp", json!(NOW - 31)),
            Box::new(is(BadToken::Expired)),
        ),
        (
            ann_with("exp", json!(NOW - 30)),
            Box::new(is(BadToken::Expired)),
        ),
        (
            ann_with("exp", json!(i64::MIN)),
            Box::new(is(BadToken::Expired)),
        ),
        (
            ann_with("exp", json!(-1e300)),
            Box::new(is(BadToken::Expired)),
        ),
        (
            ann_with("nbf", json!(NOW + 31)),
            Box::new(is(BadToken::NotYetValid)),
        ),
        (
            ann_with("nbf", json!(1e300)),
            Box::new(is(BadToken::NotYetValid)),
        ),
    ];
    for (claims, right) in table {
        let told = said(&claims).unwrap_err();
        assert!(right(&told), "{claims}: {told:?}");
    }
    for claims in [
        ann_with("exp", json!(NOW - 29)),
        ann_with("exp", json!(NOW as f64 + 0.5)),
        ann_with("exp", json!(i64::MAX)),
        ann_with("exp", json!(u64::MAX)),
        ann_with("nbf", json!(NOW + 30)),
        ann_with("nbf", Value::Null),
        ann_with("name", Value::Null),
        ann_with("sub", json!("x".repeat(128))),
        ann_with("jti", json!("ï".repeat(128))),
    ] {
        assert!(said(&claims).is_ok(), "{claims}: {:?}", said(&claims));
    }
}

#[test]
fn only_three_words_are_roles() {
    for (word, role) in [
        (json!("admin"), Some(Role::Admin)),
        (json!("service"), Some(Role::Service)),
        (json!("agent"), Some(Role::Agent)),
        (json!("Admin"), None),
        (json!("host"), None),
        (json!(["admin"]), None),
        (Value::Null, None),
    ] {
        assert_eq!(said(&ann_with("role", word)).unwrap().role, role);
    }
}

#[test]
fn issuer_and_audience_count_when_they_are_configured() {
    let config = || Config {
        issuer: Some("https://us".to_owned()),
        audience: Some("collab".to_owned()),
        ..config()
    };
    for (iss, aud, right) in [
        (json!("https://us"), json!("collab"), None),
        (json!("https://us"), json!(["other", "collab"]), None),
        (
            json!("https://them"),
            json!("collab"),
            Some(BadToken::Issuer),
        ),
        (
            json!(["https://us"]),
            json!("collab"),
            Some(BadToken::Issuer),
        ),
        (Value::Null, json!("collab"), Some(BadToken::Issuer)),
        (
            json!("https://us"),
            json!("other"),
            Some(BadToken::Audience),
        ),
        (json!("https://us"), json!([]), Some(BadToken::Audience)),
        (
            json!("https://us"),
            json!({"collab": 1}),
            Some(BadToken::Audience),
        ),
        (json!("https://us"), Value::Null, Some(BadToken::Audience)),
    ] {
        let claims = json!({"sub": "ann", "exp": NOW + 60, "iss": iss, "aud": aud});
        let told = verified(config(), &with_secret(NEW, &hs256(), &claims)).err();
        assert_eq!(told, right, "{claims}");
    }
}

#[test]
fn an_identity_ends_with_the_leeway() {
    let identity = said(&ann()).unwrap();
    assert_eq!(identity.ends_at(), (NOW + 90) * 1_000);
    assert_eq!(identity.ends_at(), (NOW + 90) * 1_000);
}

#[test]
fn what_is_signed_verifies() {
    let claims = Claims {
        user: UserId::parse("ann").unwrap(),
        name: Some("Ann".into()),
        role: Some(Role::Service),
        sessions: Some(vec![SessionId::parse("s1").unwrap()]),
        id: Some("t-1".into()),
        issuer: Some("us".to_owned()),
        audience: Some("collab".to_owned()),
        issued_at: NOW,
        expires_at: NOW + 60,
    };
    let config = Config {
        issuer: Some("us".to_owned()),
        audience: Some("collab".to_owned()),
        ..config()
    };
    let identity = verified(config, &sign(NEW, &claims).unwrap()).unwrap();
    assert_eq!(identity.user, claims.user);
    assert_eq!(identity.name, claims.name);
    assert_eq!(identity.role, claims.role);
    assert_eq!(identity.sessions, claims.sessions);
    assert_eq!(identity.id, claims.id);
    assert_eq!(identity.expires_at, claims.expires_at);
}

/// A sentence goes to a client and into a log; the token must not.
#[test]
fn nothing_secret_is_told() {
    let token = with_secret("nobody's secret", &hs256(), &ann());
    let told = verified(config(), &token).unwrap_err();
    for part in token.split('.') {
        assert!(!format!("{told} {told:?}").contains(part));
    }
    let jwks = jwks::Config {
        url: "https://ann:hunter2@host/keys".to_owned(),
        refresh: Duration::from_secs(600),
        timeout: Duration::from_secs(3),
    };
    let config = Config {
        jwks: Some(jwks),
        ..config()
    };
    let shown = format!("{config:?}");
    for secret in [OLD, NEW, "hunter2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_verifier_needs_something_to_verify_with() {
    assert!(Verifier::new(Config::default()).is_err());
}
