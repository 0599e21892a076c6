//! What a node asks another for itself: over the same way as requests that are passed on, with a pass for that target.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, StatusCode};

use super::Transport;
use super::passing::Owner;
use crate::ids::NodeId;
use crate::node::peers::Peers;
use crate::telemetry::metrics::metrics;

/// Time for an answer beyond that in which the node must be reached.
const PATIENCE: Duration = Duration::from_secs(3);

#[async_trait]
impl Peers for Transport {
    async fn ask(&self, node: NodeId, target: &str, most: usize) -> Result<Bytes, String> {
        let asked = tokio::time::timeout(
            self.config.pass_timeout + PATIENCE,
            self.question(node, target, most),
        );
        let answered = asked.await;
        let answered = answered.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        metrics().passed(if answered.is_ok() {
            "answered"
        } else {
            "unanswered"
        });
        answered
    }
}

impl Transport {
    async fn question(&self, node: NodeId, target: &str, most: usize) -> Result<Bytes, String> {
        let way = self.way_to(node, target, &Method::GET);
        let (address, pass) = way.ok_or("it does not say where it is reached")?;
        let owner = Owner::new(address, pass, self.passing.place().await?);
        let response = self.ask(&owner, owner.question(target)?).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(body.to_bytes())
    }
}
