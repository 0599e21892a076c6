//! Guards the key set against hosts that are slow, away, wrong or changing, and the hosts against us.
//!
//! The host is real, on loopback; time runs on only where [`later`] moves it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::tests::{NEW, NOW, Signer, ann, with_secret};
use crate::auth::{self, Identity, Verifier};

/// What a host does with a request.
#[derive(Clone)]
enum Answer {
    /// The whole answer; then it hangs up.
    Say(String),
    /// As much of an answer, and then nothing, the connection stays.
    Stall(String),
}

fn ok(body: impl ToString) -> Answer {
    let body = body.to_string();
    let length = body.len();
    Answer::Say(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn redirect(to: &str) -> Answer {
    Answer::Say(format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn set(keys: &[Value]) -> Answer {
    ok(json!({ "keys": keys }))
}

fn hang_up() -> Answer {
    Answer::Say(String::new())
}

/// A host of keys.
struct Host {
    address: SocketAddr,
    /// What it does next; the last it does again and again.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: watch::Receiver<usize>,
    _serving: AbortOnDropHandle<()>,
}

impl Host {
    async fn start(first: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(VecDeque::from([first])));
        let (count, requests) = watch::channel(0);
        let serving = tokio::spawn(serve(listener, answers.clone(), count));
        Self {
            address,
            answers,
            requests,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.answers.lock() = answers.into_iter().collect();
    }

    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    async fn asked(&self, times: usize) {
        let mut requests = self.requests.clone();
        requests.wait_for(|count| *count >= times).await.unwrap();
    }

    /// The key set alone, without the loop that keeps it fresh.
    fn jwks(&self) -> Jwks {
        Jwks::new(config(self.address)).unwrap()
    }

    fn verifier(&self) -> Fresh {
        fresh(self.address, Vec::new())
    }
}

async fn serve(
    listener: TcpListener,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    count: watch::Sender<usize>,
) {
    let mut stalled = Vec::new();
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_head(&mut socket).await;
        count.send_modify(|count| *count += 1);
        let answer = {
            let mut answers = answers.lock();
            match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap(),
            }
        };
        let (Answer::Say(text) | Answer::Stall(text)) = &answer;
        // A client that has heard enough hangs up first.
        let _may_fail = socket.write_all(text.as_bytes()).await;
        if let Answer::Stall(_) = answer {
            stalled.push(socket);
        }
    }
}

async fn read_head(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
}

/// A verifier and the loop that keeps it fresh.
struct Fresh {
    verifier: Verifier,
    _loop: AbortOnDropHandle<()>,
}

impl Fresh {
    async fn verify(&self, token: &str) -> Result<Identity, BadToken> {
        self.verifier.verify(token, NOW * 1_000).await
    }
}

fn config(address: SocketAddr) -> Config {
    Config {
        url: format!("http://reader:hunter2@{address}/keys?key=hunter2"),
        refresh: Duration::from_secs(600),
        timeout: Duration::from_secs(3),
    }
}

fn fresh(address: SocketAddr, secrets: Vec<String>) -> Fresh {
    let config = auth::Config {
        secrets,
        jwks: Some(config(address)),
        ..auth::Config::default()
    };
    let verifier = Verifier::new(config).unwrap();
    let loops = verifier.clone();
    Fresh {
        verifier,
        _loop: AbortOnDropHandle::new(tokio::spawn(async move { loops.keep_fresh().await })),
    }
}

/// Moves the clock; in between it runs, as sockets need it to.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn each_algorithm_verifies_with_its_own_key_alone() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let keys = [
        rsa.published("rsa"),
        ec.published("ec"),
        ed.published("ed"),
        json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}),
        json!("not a key"),
    ];
    let host = Host::start(set(&keys)).await;
    let fresh = host.verifier();
    for (signer, kid) in [(rsa, "rsa"), (&ec, "ec"), (&ed, "ed")] {
        let identity = fresh.verify(&signer.token(kid)).await.unwrap();
        assert_eq!(identity.user.as_str(), "ann");
        let unnamed = json!({"alg": format!("{:?}", signer.algorithm)});
        let token = signer.sign(&unnamed, &ann());
        assert!(fresh.verify(&token).await.is_ok(), "the only one that fits");
    }
    let mismatch = |given: &str, right| Err(BadToken::Algorithm(given.to_owned(), right));
    for (token, told) in [
        (rsa.token("ec"), mismatch("RS256", "ES256")),
        (ec.token("ed"), mismatch("ES256", "EdDSA")),
        (ed.token("rsa"), mismatch("EdDSA", "RS256")),
        (Signer::ec().token("ec"), Err(BadToken::Signature)),
        (Signer::ed().token("ed"), Err(BadToken::Signature)),
        (rsa.token("shared"), Err(BadToken::UnknownKey)),
    ] {
        assert_eq!(fresh.verify(&token).await, told, "{token}");
    }
}

/// Somebody takes what everybody may know for the shared secret.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let rsa = Signer::rsa();
    let published = rsa.published("rsa");
    let host = Host::start(set(std::slice::from_ref(&published))).await;
    let (alone, both) = (host.verifier(), fresh(host.address, vec![NEW.to_owned()]));
    let modulus = published["n"].as_str().unwrap();
    let header = json!({"alg": "HS256", "kid": "rsa"});
    for known in [
        modulus.as_bytes(),
        &URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        published.to_string().as_bytes(),
    ] {
        let forged = with_secret(known, &header, &ann());
        let told = BadToken::Algorithm("HS256".to_owned(), "RS256, ES256 or EdDSA");
        assert_eq!(alone.verify(&forged).await, Err(told));
        assert_eq!(both.verify(&forged).await, Err(BadToken::Signature));
    }
    assert!(both.verify(&rsa.token("rsa")).await.is_ok());
}

#[tokio::test]
async fn two_keys_of_a_kind_need_a_name() {
    let (one, two) = (Signer::ec(), Signer::ec());
    let host = Host::start(set(&[one.published("one"), two.published("two")])).await;
    let fresh = host.verifier();
    assert!(fresh.verify(&two.token("two")).await.is_ok());
    let unnamed = two.sign(&json!({"alg": "ES256"}), &ann());
    assert_eq!(fresh.verify(&unnamed).await, Err(BadToken::UnknownKey));
    assert_eq!(host.requests(), 1, "a fetch would tell nothing new");
}

#[tokio::test]
async fn many_who_meet_a_new_key_share_one_fetch() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let host = Host::start(set(&[old.published("old")])).await;
    let fresh = host.verifier();
    let token = old.token("old");
    let first = join_all((0..50).map(|_| fresh.verify(&token))).await;
    assert!(first.iter().all(Result::is_ok), "{:?}", first[0]);
    assert_eq!(host.requests(), 1);

    later(11).await;
    host.will([set(&[new.published("new")])]);
    let token = new.token("new");
    let all = join_all((0..50).map(|_| fresh.verify(&token))).await;
    assert!(all.iter().all(Result::is_ok), "{:?}", all[0]);
    assert_eq!(host.requests(), 2);
    let gone = fresh.verify(&old.token("old")).await;
    assert_eq!(gone, Err(BadToken::UnknownKey), "taken back by its host");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_not_passed_on() {
    let known = Signer::ec();
    let host = Host::start(set(&[known.published("known")])).await;
    let fresh = host.verifier();
    assert!(fresh.verify(&known.token("known")).await.is_ok());
    later(11).await;
    for number in 0..20 {
        let told = fresh
            .verify(&known.token(&format!("made-up-{number}")))
            .await;
        assert_eq!(told, Err(BadToken::UnknownKey));
    }
    assert_eq!(host.requests(), 2);
    assert!(fresh.verify(&known.token("known")).await.is_ok());
    later(11).await;
    let told = fresh.verify(&known.token("made-up")).await;
    assert_eq!(told, Err(BadToken::UnknownKey));
    assert_eq!(host.requests(), 3);
}

#[tokio::test]
async fn keys_change_without_being_asked_for() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let host = Host::start(set(&[old.published("key")])).await;
    let fresh = host.verifier();
    assert!(fresh.verify(&old.token("key")).await.is_ok());
    host.will([set(&[new.published("key")])]);
    later(601).await;
    host.asked(2).await;
    // Waits for the fetch under way.
    let _unknown = fresh.verify(&new.token("other")).await;
    assert!(fresh.verify(&new.token("key")).await.is_ok());
    let told = fresh.verify(&old.token("key")).await;
    assert_eq!(told, Err(BadToken::Signature));
}

/// Whatever the host answers, what it said before counts until it says something better.
#[tokio::test]
async fn keys_stay_when_the_host_is_away_or_says_nonsense() {
    let key = Signer::ec();
    let another = json!({"keys": [key.published("another")]}).to_string();
    let long = format!("{another}{}", " ".repeat(MAX_BODY));
    let mut for_encryption = Signer::ec().published("new");
    for_encryption["use"] = "enc".into();
    for (what, answer) in [
        ("hangs up", hang_up()),
        ("no HTTP", Answer::Say("nonsense\r\n\r\n".to_owned())),
        (
            "fails",
            Answer::Say("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ),
        ("empty", ok("")),
        ("a page", ok("<html>moved</html>")),
        ("a list", ok("[]")),
        ("an object", ok("{}")),
        ("no keys", set(&[])),
        ("unknown keys", set(&[json!({"kty": "RSA-X"}), json!(7)])),
        ("keys for something else", set(&[for_encryption])),
        ("too long", ok(&long)),
        (
            "too long, not said so",
            Answer::Say(format!("HTTP/1.1 200 OK\r\n\r\n{long}")),
        ),
        ("another scheme", redirect("https://127.0.0.1/keys")),
        ("no scheme we speak", redirect("file:///etc/passwd")),
        ("to itself", redirect("/keys")),
    ] {
        let host = Host::start(set(&[key.published("key")])).await;
        let fresh = host.verifier();
        assert!(fresh.verify(&key.token("key")).await.is_ok());
        host.will([answer]);
        later(601).await;
        host.asked(2).await;
        let told = fresh.verify(&key.token("another")).await;
        assert_eq!(told, Err(BadToken::Unavailable), "{what}");
        assert!(fresh.verify(&key.token("key")).await.is_ok(), "{what}");
        assert!(host.requests() <= 3 + MAX_REDIRECTS, "{what}");

        host.will([set(&[key.published("another")])]);
        later(11).await;
        assert!(fresh.verify(&key.token("another")).await.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn a_redirect_of_the_same_scheme_is_followed() {
    let key = Signer::ec();
    let host = Host::start(redirect("/elsewhere")).await;
    host.will([redirect("/elsewhere"), set(&[key.published("key")])]);
    assert!(host.verifier().verify(&key.token("key")).await.is_ok());
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn without_any_keys_nobody_can_tell() {
    let key = Signer::ec();
    let host = Host::start(hang_up()).await;
    let fresh = host.verifier();
    for _ in 0..5 {
        let told = fresh.verify(&key.token("key")).await;
        assert_eq!(told, Err(BadToken::Unavailable));
    }
    assert_eq!(host.requests(), 1);
    host.will([set(&[key.published("key")])]);
    later(11).await;
    assert!(fresh.verify(&key.token("key")).await.is_ok());
}

/// A host that takes the request and then its time costs a handshake the timeout, not more.
#[tokio::test]
async fn a_slow_host_is_not_waited_for() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"keys\":";
    for slow in ["", part] {
        let host = Host::start(Answer::Stall(slow.to_owned())).await;
        let (fresh, alone) = (host.verifier(), host.jwks());
        let token = Signer::ec().token("key");
        let pass = async {
            host.asked(2).await;
            later(3).await;
        };
        let all = async { tokio::join!(fresh.verify(&token), alone.fetch(), pass) };
        let (told, fetched, ()) = timeout(Duration::from_secs(10), all)
            .await
            .expect("both end with the timeout of 3 s");
        assert_eq!(told, Err(BadToken::Unavailable));
        assert!(fetched.is_err_and(|reason| reason.contains("timed out")));
    }
}

/// Who reads the log learns what to mend.
#[tokio::test]
async fn a_fetch_that_fails_says_why() {
    let page = ok("<html>moved</html>");
    let missing = Answer::Say("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned());
    for (answer, part) in [
        (missing, "answers 404"),
        (page, "no key set"),
        (set(&[]), "no key for RS256"),
        (ok(" ".repeat(MAX_BODY + 1)), "longer than 1048576 bytes"),
        (redirect("https://127.0.0.1/keys"), "another scheme"),
        (redirect("/keys"), "too often"),
        (hang_up(), "connection closed"),
    ] {
        let host = Host::start(answer).await;
        let reason = host.jwks().fetch().await.err().unwrap();
        assert!(reason.contains(part), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}

/// Nobody may reset the wait of the others by hanging up.
#[tokio::test]
async fn who_gives_up_cancels_nothing() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let host = Host::start(set(&[old.published("old")])).await;
    let fresh = host.verifier();
    assert!(fresh.verify(&old.token("old")).await.is_ok());
    later(11).await;
    host.will([set(&[new.published("new")])]);
    {
        let token = new.token("new");
        let impatient = std::pin::pin!(fresh.verify(&token));
        assert!(futures_util::poll!(impatient).is_pending());
    }
    assert!(fresh.verify(&new.token("new")).await.is_ok());
    assert_eq!(host.requests(), 2);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_tells_each_change_once_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _until_end = tracing::subscriber::set_default(subscriber);
    // With a single one, whichever thread first meets a line decides whether anybody hears it.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());

    let key = Signer::ec();
    let token = key.token("key");
    let host = Host::start(hang_up()).await;
    let fresh = host.verifier();
    for _ in 0..3 {
        assert_eq!(fresh.verify(&token).await, Err(BadToken::Unavailable));
        later(11).await;
    }
    host.will([set(&[key.published("key")])]);
    while fresh.verify(&token).await.is_err() {
        later(11).await;
    }

    let said = String::from_utf8(log.0.lock().clone()).unwrap();
    let ours = |level: &str| {
        let lines = said.lines().filter(|line| line.contains("collabd::auth"));
        lines.filter(|line| line.contains(level)).count()
    };
    assert_eq!(ours(" WARN "), 1, "{said}");
    assert_eq!(ours(" INFO "), 1, "{said}");
    for secret in ["hunter2", token.as_str(), token.rsplit('.').next().unwrap()] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// A published key that is not exactly what it must be is left alone.
#[test]
fn keys_that_do_not_fit_are_left_out() {
    let (rsa, ec, ed) = (
        Signer::rsa().published("rsa"),
        Signer::ec().published("ec"),
        Signer::ed().published("ed"),
    );
    let read = |key: &Value| Keys::read(json!({ "keys": [key] }).to_string().as_bytes()).is_ok();
    for (good, name, bad) in [
        (&rsa, "use", json!("enc")),
        (&rsa, "key_ops", json!(["encrypt"])),
        (&rsa, "alg", json!("PS256")),
        (&rsa, "alg", json!("HS256")),
        (&rsa, "kty", json!("oct")),
        (&rsa, "n", json!("AQAB")),
        (&rsa, "n", Value::Null),
        (&rsa, "e", json!("!")),
        (&ec, "crv", json!("P-384")),
        (&ec, "crv", Value::Null),
        (&ec, "alg", json!("ES384")),
        (&ec, "x", json!("AQAB")),
        (&ec, "y", Value::Null),
        (&ed, "crv", json!("Ed448")),
        (&ed, "crv", json!("X25519")),
        (&ed, "x", json!("AQAB")),
        (&ed, "kid", json!(1)),
    ] {
        assert!(read(good));
        let mut key = good.clone();
        key[name] = bad;
        assert!(!read(&key), "{key}");
    }
    for (name, fine) in [
        ("key_ops", json!(["verify"])),
        ("alg", Value::Null),
        ("use", Value::Null),
    ] {
        let mut key = rsa.clone();
        key[name] = fine;
        assert!(read(&key), "{key}");
    }
}

#[test]
fn only_the_web_has_key_sets() {
    for (text, right) in [
        ("https://host.example/.well-known/jwks.json", true),
        ("http://127.0.0.1:8080/keys?set=1", true),
        ("ftp://host/keys", false),
        ("file:///etc/keys", false),
        ("host.example/keys", false),
        ("https://", false),
        ("", false),
    ] {
        assert_eq!(is_url(text), right, "{text}");
    }
}
