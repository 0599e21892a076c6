//! Where events go that can never become a session: the queue's `.dead`, with the reason, and confirmed by the broker.
//!
//! On a connection of its own, made with the first of them: a broker short of memory or disk stops reading from those who
//! publish, and must go on reading acknowledgements.

use std::sync::Arc;
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::Mutex;

use super::{Broker, Error, broker};

/// Why it is here.
const REASON: &str = "x-reason";
/// Longest reason, in characters.
const LONGEST_REASON: usize = 1_000;
/// Time for the broker to confirm that it has it.
const CONFIRMING: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(1);

pub struct Dead {
    broker: Arc<Broker>,
    queue: String,
    line: Mutex<Option<Arc<Line>>>,
}

struct Line {
    connection: Connection,
    channel: Channel,
}

impl Dead {
    pub fn new(broker: Arc<Broker>, of: &str) -> Self {
        Self {
            broker,
            queue: format!("{of}.dead"),
            line: Mutex::default(),
        }
    }

    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// `Ok` when the broker has taken it over. Otherwise it may have it, too.
    pub async fn publish(&self, delivery: &Delivery, reason: &str) -> Result<(), Error> {
        let line = self.line().await?;
        let publishing = line.publish(&self.queue, delivery, reason);
        let confirmed = tokio::time::timeout(CONFIRMING, publishing).await;
        let confirmed = confirmed.unwrap_or(Err(Error::Late(CONFIRMING)));
        if !matches!(confirmed, Ok(()) | Err(Error::Refused)) {
            self.forget(&line).await;
        }
        confirmed
    }

    async fn line(&self) -> Result<Arc<Line>, Error> {
        let mut kept = self.line.lock().await;
        if let Some(line) = kept.as_ref().filter(|line| line.is_open()) {
            return Ok(line.clone());
        }
        *kept = None;
        let connection = self.broker.connect().await?;
        broker::ensure(&connection, &self.queue).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let line = Line {
            connection,
            channel,
        };
        Ok(kept.insert(Arc::new(line)).clone())
    }

    /// The next one is published on another; this one is closed when nobody uses it any more.
    async fn forget(&self, line: &Arc<Line>) {
        let mut kept = self.line.lock().await;
        kept.take_if(|kept| Arc::ptr_eq(kept, line));
    }

    pub async fn close(&self) {
        if let Some(line) = self.line.lock().await.take() {
            let closing = line.connection.close(200, "OK".into());
            let closed = tokio::time::timeout(CLOSING, closing).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::debug!("the connection for dead events was left without a word");
            }
        }
    }
}

impl Line {
    fn is_open(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    async fn publish(&self, queue: &str, delivery: &Delivery, reason: &str) -> Result<(), Error> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let frame = self.connection.configuration().frame_max() as usize;
        let properties = properties(&delivery.properties, reason, frame);
        let confirm = self
            .channel
            .basic_publish(
                "".into(),
                queue.into(),
                mandatory,
                &delivery.data,
                properties,
            )
            .await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Error::Unroutable),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Error::Refused),
        }
    }
}

/// Those of the event, and the reason. What would act once more is kept under another name: an event among the dead must
/// not expire there, must not be routed elsewhere, and is not refused because another user than ours published it.
///
/// All of it must fit into one frame of the broker's: of its bytes a quarter is for headers, a quarter for the reason.
fn properties(of: &BasicProperties, reason: &str, frame: usize) -> BasicProperties {
    let mut headers = kept(of.headers().as_ref(), frame / 4);
    let longest = LONGEST_REASON.min(frame / 16);
    let reason: String = reason.chars().take(longest).collect();
    headers.insert(REASON.into(), said(&reason));
    for (name, value) in [
        ("x-user-id", of.user_id()),
        ("x-expiration", of.expiration()),
    ] {
        if let Some(value) = value {
            headers.insert(name.into(), said(value.as_str()));
        }
    }
    let mut kept = BasicProperties::default().with_headers(headers);
    macro_rules! keep {
        ($($property:ident $with:ident),+ $(,)?) => {
            $(if let Some(value) = of.$property().clone() {
                kept = kept.$with(value);
            })+
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        delivery_mode with_delivery_mode,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id,
        cluster_id with_cluster_id,
    );
    kept
}

fn kept(headers: Option<&FieldTable>, most_bytes: usize) -> FieldTable {
    let Some(headers) = headers else {
        return FieldTable::default();
    };
    let bytes = serde_json::to_vec(headers).map_or(usize::MAX, |json| json.len());
    let mut kept = FieldTable::default();
    if bytes > most_bytes {
        kept.insert("x-headers".into(), said("left out, being too many"));
        return kept;
    }
    for (name, value) in headers {
        let name = match name.as_str() {
            // The broker would send copies to the queues that are named there.
            "CC" => "x-cc",
            "BCC" => "x-bcc",
            name => name,
        };
        kept.insert(name.into(), value.clone());
    }
    kept
}

fn said(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 131_072;

    /// Guards what an event is found with among the dead, and that nothing of it acts there.
    #[test]
    fn an_event_keeps_what_it_came_with_and_acts_no_more() {
        let mut headers = FieldTable::default();
        headers.insert("trace".into(), said("abc"));
        headers.insert("CC".into(), said("elsewhere"));
        let came = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_message_id("7".into())
            .with_type("match".into())
            .with_delivery_mode(2)
            .with_expiration("100".into())
            .with_user_id("matchmaker".into());
        let kept = properties(&came, &"x".repeat(5_000), FRAME);
        assert_eq!((kept.user_id(), kept.expiration()), (&None, &None));
        assert_eq!(kept.kind(), came.kind());
        assert_eq!(kept.message_id(), came.message_id());
        assert_eq!(kept.content_type(), came.content_type());
        assert_eq!(kept.delivery_mode(), &Some(2));
        let headers = kept.headers().as_ref().unwrap();
        let right = [
            (REASON, &*"x".repeat(LONGEST_REASON)),
            ("trace", "abc"),
            ("x-cc", "elsewhere"),
            ("x-expiration", "100"),
            ("x-user-id", "matchmaker"),
        ];
        assert_eq!(headers.into_iter().count(), right.len());
        for (name, value) in right {
            let found = headers
                .into_iter()
                .find(|(known, _)| known.as_str() == name);
            assert_eq!(found.map(|(_, value)| value), Some(&said(value)), "{name}");
        }
    }

    #[test]
    fn headers_that_would_not_fit_are_left_out() {
        let mut headers = FieldTable::default();
        headers.insert("long".into(), said(&"x".repeat(FRAME / 4)));
        let came = BasicProperties::default().with_headers(headers);
        let kept = properties(&came, "no match event", FRAME);
        let kept = kept.headers().as_ref().unwrap();
        let names: Vec<_> = kept.into_iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-headers", REASON]);
    }
}
