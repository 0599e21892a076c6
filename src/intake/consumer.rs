//! One connection's life as a consumer: many events in flight at once, each acknowledged by itself.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio_util::sync::CancellationToken;

use super::{Error, Taker, broker};
use crate::telemetry::metrics::metrics;

/// Time for what is in flight to be brought to its end, and for the broker to be told.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time for the broker to answer all that is asked before the first event.
const SETTING_UP: Duration = Duration::from_secs(30);

/// Why a consumer stopped, if nothing was wrong.
pub enum End {
    /// It was told to.
    Left,
    /// The backplane is away.
    Unlinked,
}

/// What was opened, and is closed.
struct Opened {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
}

impl Taker {
    pub(super) async fn consume(&self, leaving: &CancellationToken) -> Result<End, Error> {
        let opening = tokio::time::timeout(SETTING_UP, self.open());
        let Some(opened) = leaving.run_until_cancelled(opening).await else {
            return Ok(End::Left);
        };
        let opened = opened.map_err(|_| Error::Late(SETTING_UP))??;
        metrics().intake_connected(true);
        let (queue, prefetch) = (&self.config.queue, self.config.prefetch);
        tracing::info!(queue, prefetch, "match events are taken");
        let ended = self.attend(opened, leaving).await;
        metrics().intake_in_flight(0);
        ended
    }

    async fn open(&self) -> Result<Opened, Error> {
        let connection = self.broker.connect().await?;
        broker::ensure(&connection, &self.config.queue).await?;
        // Here, so that it can be watched before anything is in it.
        broker::ensure(&connection, self.work.dead.queue()).await?;
        let channel = connection.create_channel().await?;
        let each = BasicQosOptions::default();
        channel.basic_qos(self.config.prefetch, each).await?;
        let consumer = channel
            .basic_consume(
                self.config.queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Opened {
            connection,
            channel,
            consumer,
        })
    }

    /// Takes events until it is to leave, or cannot. What was not acknowledged then comes again, here or elsewhere.
    async fn attend(&self, mut opened: Opened, leaving: &CancellationToken) -> Result<End, Error> {
        let most = usize::from(self.config.prefetch);
        let giving_back = CancellationToken::new();
        let mut in_flight = FuturesUnordered::new();
        let mut unlinked = std::pin::pin!(self.unlinked());
        let end = loop {
            tokio::select! {
                biased;
                () = leaving.cancelled() => break Ok(End::Left),
                () = &mut unlinked => break Ok(End::Unlinked),
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                event = opened.consumer.next(), if in_flight.len() < most => match event {
                    Some(Ok(delivery)) => in_flight.push(self.work.take(delivery, &giving_back)),
                    Some(Err(error)) => return Err(error.into()),
                    None => break Err(Error::Cancelled),
                },
            }
            metrics().intake_in_flight(in_flight.len());
        };
        // The broker itself has cancelled what it took away; nothing can be given back to that.
        let is_ours = end.is_ok();
        let farewell = async {
            if is_ours {
                let tag = opened.consumer.tag();
                let cancel = opened
                    .channel
                    .basic_cancel(tag, BasicCancelOptions::default());
                cancel.await?;
                // Now it goes to others: before that it would have come back here.
                giving_back.cancel();
            }
            while in_flight.next().await.is_some() {}
            opened.connection.close(200, "OK".into()).await
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "RabbitMQ was left without a word"),
            Err(_) => {
                tracing::warn!("not all match events in flight came to an end: they come again")
            }
        }
        end
    }
}
