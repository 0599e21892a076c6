//! Guards what is asked of other services, and what is made of their answers, against hosts that are slow, wrong or
//! away. The host is real, on loopback. The user service is asked at the front door, by `tests/e2e`.

use std::sync::Arc;
use std::time::Duration;

use collabd::neighbours::{Access, AgentCard, AgentsService, Away};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

/// A host that says the same to everybody, unless it is told to wait.
struct Host {
    url: String,
    answer: Arc<Mutex<String>>,
    answers: watch::Sender<bool>,
    /// The paths that were asked for.
    asked: watch::Receiver<Vec<String>>,
    _serving: AbortOnDropHandle<()>,
}

impl Host {
    async fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let (note, asked) = watch::channel(Vec::new());
        let (answers, answering) = watch::channel(true);
        let answer = Arc::new(Mutex::new(String::new()));
        let (say, note) = (answer.clone(), Arc::new(note));
        let serving = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (say, note, answering) = (say.clone(), note.clone(), answering.clone());
                tokio::spawn(serve(socket, say, note, answering));
            }
        });
        let host = Self {
            url,
            answer,
            answers,
            asked,
            _serving: AbortOnDropHandle::new(serving),
        };
        host.will_say(status, body);
        host
    }

    fn will_say(&self, status: u16, body: &str) {
        let length = body.len();
        *self.answer.lock() = format!(
            "HTTP/1.1 {status} So\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }

    fn requests(&self) -> usize {
        self.asked.borrow().len()
    }

    async fn was_asked(&self, times: usize) {
        let mut asked = self.asked.clone();
        let enough = asked.wait_for(|paths| paths.len() >= times);
        timeout(PATIENCE, enough).await.unwrap().unwrap();
    }

    fn service(&self, failures: u32) -> Arc<AgentsService> {
        let access = Access {
            url: self.url.clone(),
            timeout: Duration::from_secs(10),
            ttl: Duration::from_secs(60),
            answers: 100,
            requests: 8,
            failures,
            pause: PAUSE,
        };
        Arc::new(AgentsService::new(&access).unwrap())
    }
}

async fn serve(
    mut socket: TcpStream,
    say: Arc<Mutex<String>>,
    note: Arc<watch::Sender<Vec<String>>>,
    mut answering: watch::Receiver<bool>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            // A client that gave up.
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    note.send_modify(|paths| paths.push(path));
    if answering.wait_for(|now| *now).await.is_ok() {
        let answer = say.lock().clone();
        let _may_have_gone = socket.write_all(answer.as_bytes()).await;
    }
}

fn card(id: &str, name: Option<&str>, status: Option<&str>) -> AgentCard {
    AgentCard {
        id: id.into(),
        name: name.map(Into::into),
        description: None,
        status: status.map(Into::into),
    }
}

/// What another service calls a card goes to everybody's screen.
#[tokio::test]
async fn cards_have_what_can_be_shown() {
    let host = Host::start(200, "{}").await;
    let agents = host.service(100);
    for (number, (said, right)) in [
        (json!({}), card("", None, None)),
        (
            json!({"id": "other", "name": "N", "status": "idle", "model": {"a": [1]}}),
            card("", Some("N"), Some("idle")),
        ),
        (json!({"name": 7, "status": ["idle"]}), card("", None, None)),
        (
            json!({"name": "a\u{7}", "status": "s".repeat(65)}),
            card("", None, None),
        ),
        (
            json!({"description": "Two\nlines"}),
            AgentCard {
                description: Some("Two\nlines".into()),
                ..card("", None, None)
            },
        ),
        (
            json!({"description": "d".repeat(1_025)}),
            card("", None, None),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        host.will_say(200, &said.to_string());
        let id = format!("agent-{number}");
        let right = AgentCard {
            id: id.as_str().into(),
            ..right
        };
        assert_eq!(agents.lookup(&id).await, Ok(Some(right)), "{said}");
    }
}

/// An id must not lead to another place.
#[tokio::test]
async fn ids_are_one_part_of_the_path() {
    let host = Host::start(404, "").await;
    let agents = host.service(100);
    for id in ["a b/c?d#e%", "é|:@", "..", ".", ""] {
        assert_eq!(agents.lookup(id).await, Ok(None), "{id}");
    }
    let paths = host.asked.borrow().clone();
    assert_eq!(
        paths,
        [
            "/api/agents/a%20b%2Fc%3Fd%23e%25",
            "/api/agents/%C3%A9%7C%3A%40"
        ]
    );
}

/// A crowd costs one request, also when the first of it gives up.
#[tokio::test]
async fn who_waits_for_the_same_waits_for_one_answer() {
    let host = Host::start(200, r#"{"name":"N"}"#).await;
    let agents = host.service(100);
    host.answers.send_replace(false);
    let first = {
        let agents = agents.clone();
        tokio::spawn(async move { agents.lookup("a").await })
    };
    host.was_asked(1).await;
    let crowd = (0..100).map(|_| {
        let agents = agents.clone();
        tokio::spawn(async move { agents.lookup("a").await })
    });
    let crowd: Vec<_> = crowd.collect();
    tokio::task::yield_now().await;
    assert_eq!(host.requests(), 1);
    first.abort();
    host.was_asked(2).await;
    host.answers.send_replace(true);
    for found in join_all(crowd).await {
        assert_eq!(found.unwrap(), Ok(Some(card("a", Some("N"), None))));
    }
    assert_eq!(
        agents.lookup("a").await,
        Ok(Some(card("a", Some("N"), None)))
    );
    assert_eq!(host.requests(), 2);
}

/// A service that is down is not asked for each agent; one that is back is.
#[tokio::test]
async fn the_circuit_opens_and_closes() {
    let host = Host::start(500, "").await;
    let agents = host.service(2);
    for id in ["a", "b"] {
        let away = agents.lookup(id).await;
        assert_eq!(away, Err(Away::Failed("it answers 500".to_owned())));
    }
    host.will_say(200, "{}");
    assert_eq!(agents.lookup("a").await, Err(Away::Open));
    assert_eq!(host.requests(), 2);
    let back = async {
        while agents.lookup("a").await.is_err() {
            tokio::time::sleep(PAUSE / 10).await;
        }
    };
    timeout(PATIENCE, back).await.expect("it is asked again");
    assert_eq!(host.requests(), 3);
}

/// A URL that cannot be asked is told at the start, not to everybody who comes.
#[test]
fn urls_that_cannot_be_asked_are_refused() {
    for url in ["http://a", "https://u:p@a:1/b/"] {
        assert!(collabd::neighbours::is_url(url), "{url}");
    }
    for url in [
        "a",
        "a:80",
        "ftp://a",
        "http://",
        "http://a?b",
        "http://a#b",
        "",
    ] {
        assert!(!collabd::neighbours::is_url(url), "{url}");
    }
}
