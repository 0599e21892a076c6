//! How another node is asked something: over its own address, as a client would be, with a pass that it believes.

use async_trait::async_trait;
use bytes::Bytes;

use crate::ids::NodeId;

#[async_trait]
pub trait Peers: Send + Sync {
    /// What the node answers to `GET` of this target, at most so many bytes; or why it does not.
    async fn ask(&self, node: NodeId, target: &str, most: usize) -> Result<Bytes, String>;
}
