//! Commits that are ready together go to Redis together, as one call of the script.
//!
//! The client library writes every script call at once and by itself, a system call each; and calling a
//! script costs Redis as much as a third of a commit. Each commit in a bunch is still judged alone: one that
//! fails harms no other. On a cluster all keys of a call must be of one slot, so there only commits of rooms
//! that share one go together.

use std::collections::HashMap;
use std::sync::Arc;

use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use fred::types::{Key, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::scripts::Scripts;
use super::{int, unavailable};
use crate::backplane::Error;
use crate::bunching::Bunching;

/// Commits in one call: what Redis does meanwhile is nothing else, for about 10 µs a commit.
const BUNCH: usize = 32;

/// One commit, as the script takes it.
struct Call {
    keys: Vec<Key>,
    args: Vec<Value>,
    done: oneshot::Sender<Result<String, Error>>,
}

pub struct Bunches {
    calls: mpsc::Sender<Call>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Bunches {
    pub fn start(client: WithOptions<Client>, scripts: Arc<Scripts>, waiting: usize) -> Self {
        let (calls, queue) = mpsc::channel(waiting);
        Self {
            calls,
            task: Mutex::new(Some(tokio::spawn(send(client, scripts, queue)))),
        }
    }

    /// The script's answer to this commit.
    pub async fn commit(&self, keys: Vec<Key>, args: Vec<Value>) -> Result<String, Error> {
        let (done, answer) = oneshot::channel();
        let refused = |why: &str| Error::Unavailable(why.to_owned());
        self.calls
            .try_send(Call { keys, args, done })
            .map_err(|_| refused("too many commits are waiting"))?;
        answer.await.map_err(|_| refused("the node is stopping"))?
    }

    pub async fn close(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.abort();
            // Aborted on purpose: the error says just that.
            let _ = task.await;
        }
    }
}

async fn send(client: WithOptions<Client>, scripts: Arc<Scripts>, mut queue: mpsc::Receiver<Call>) {
    let mut bunching = Bunching::default();
    let mut under_way = FuturesUnordered::new();
    let mut batch = Vec::with_capacity(BUNCH);
    let clustered = client.is_clustered();
    loop {
        tokio::select! {
            // What is under way first: a call is sent when it is first polled.
            biased;
            Some(()) = under_way.next() => {}
            taken = queue.recv_many(&mut batch, BUNCH) => {
                if taken == 0 {
                    return;
                }
                bunching.gather(&mut queue, &mut batch, BUNCH).await;
                let calls = std::mem::take(&mut batch);
                if clustered {
                    let bunches = by_slot(calls).into_values();
                    under_way.extend(bunches.map(|calls| call(&client, &scripts, calls)));
                } else {
                    under_way.push(call(&client, &scripts, calls));
                }
            }
        }
    }
}

fn by_slot(calls: Vec<Call>) -> HashMap<u16, Vec<Call>> {
    let mut bunches = HashMap::<_, Vec<_>>::new();
    for call in calls {
        // The first key is the room's, and the tag of all the others.
        let slot = call.keys[0].cluster_hash();
        bunches.entry(slot).or_default().push(call);
    }
    bunches
}

async fn call(client: &WithOptions<Client>, scripts: &Scripts, calls: Vec<Call>) {
    let mut keys = Vec::with_capacity(calls.len() * 5);
    let mut args = Vec::with_capacity(calls.len() * 9);
    let mut waiting = Vec::with_capacity(calls.len());
    for call in calls {
        args.push(int(call.keys.len() as u64));
        args.push(int(call.args.len() as u64));
        keys.extend(call.keys);
        args.extend(call.args);
        waiting.push(call.done);
    }
    let answer = scripts.commit.run(client, keys, args).await;
    let answer = answer
        .map(|lines| lines.as_str().unwrap_or_default().to_string())
        .map_err(unavailable);
    let mut lines = answer.as_deref().unwrap_or_default().split('\n');
    for done in waiting {
        let line = lines.next().unwrap_or_default().to_owned();
        // Whoever asked may be gone.
        let _ = done.send(answer.as_ref().map(|_| line).map_err(Clone::clone));
    }
}
