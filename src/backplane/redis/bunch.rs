//! Commits that are ready together go to Redis together, as one call of the script.
//!
//! The client library writes every script call at once and by itself, a system call each; and calling a
//! script costs Redis as much as a third of a commit. Each commit in a bunch is still judged alone: one that
//! fails harms no other. On a cluster all keys of a call must be of one slot, so there only commits of rooms
//! that share one go together. When a commit counts only with a replica, one wait serves all that came during
//! the one before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::error::Error as RedisError;
use fred::types::{Key, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::durable::{Durable, not_replicated};
use super::scripts::Scripts;
use super::shard::Commands;
use super::shards::has_moved;
use super::{int, unavailable};
use crate::backplane::Error;
use crate::bunching::Bunching;

/// Commits in one call: what Redis does meanwhile is nothing else, for about 10 µs a commit.
const BUNCH: usize = 32;
/// Commits for which a replica is waited once.
const TOGETHER: usize = 8 * BUNCH;
/// The least time a replica is given; it answers within one way there and back.
const LEAST: Duration = Duration::from_millis(50);

/// One commit, as the script takes it.
struct Call {
    keys: Vec<Key>,
    args: Vec<Value>,
    asked: Instant,
    done: oneshot::Sender<Result<String, Failed>>,
}

/// Why a commit has no answer.
pub enum Failed {
    /// Another server has the keys: nothing was done. Keys and arguments as they were given.
    Moved(Vec<Key>, Vec<Value>),
    Otherwise(Error),
}

pub struct Bunches {
    calls: mpsc::Sender<Call>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Bunches {
    /// At most so many are waiting. On a cluster only those of one slot go together.
    pub fn start(
        client: Commands,
        durable: Option<Arc<Durable>>,
        scripts: Arc<Scripts>,
        waiting: usize,
        clustered: bool,
    ) -> Self {
        let (calls, queue) = mpsc::channel(waiting);
        let task = match durable {
            None => tokio::spawn(send(client, scripts, queue, clustered)),
            Some(durable) => tokio::spawn(send_durably(durable, scripts, queue, clustered)),
        };
        Self {
            calls,
            task: Mutex::new(Some(task)),
        }
    }

    /// The script's answer to this commit.
    pub async fn commit(&self, keys: Vec<Key>, args: Vec<Value>) -> Result<String, Failed> {
        let (done, answer) = oneshot::channel();
        let refused = |why: &str| Failed::Otherwise(Error::Unavailable(why.to_owned()));
        self.calls
            .try_send(Call {
                keys,
                args,
                asked: Instant::now(),
                done,
            })
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

impl Drop for Bunches {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

async fn send(
    client: Commands,
    scripts: Arc<Scripts>,
    mut queue: mpsc::Receiver<Call>,
    clustered: bool,
) {
    let mut bunching = Bunching::default();
    let mut under_way = FuturesUnordered::new();
    let mut batch = Vec::with_capacity(BUNCH);
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

/// One wait at a time; who comes meanwhile has the next.
async fn send_durably(
    durable: Arc<Durable>,
    scripts: Arc<Scripts>,
    mut queue: mpsc::Receiver<Call>,
    clustered: bool,
) {
    let mut bunching = Bunching::default();
    let mut batch = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut batch, TOGETHER).await > 0 {
        bunching.gather(&mut queue, &mut batch, TOGETHER).await;
        let (calls, patience) = in_time(&mut batch, durable.patience);
        let groups = if clustered {
            by_slot(calls).into_values().collect()
        } else {
            vec![calls]
        };
        let bunches: Vec<Bunch> = groups.into_iter().flat_map(small).collect();
        if bunches.is_empty() {
            continue;
        }
        let calls: Vec<_> = bunches
            .iter()
            .map(|bunch| (&bunch.keys[..], &bunch.args[..]))
            .collect();
        let started = Instant::now();
        let (answers, replicated) = durable.run(&scripts.commit, &calls, patience).await;
        scripts.commit.timing().took(started.elapsed());
        for (bunch, answer) in bunches.into_iter().zip(answers) {
            bunch.answer(answer, replicated);
        }
    }
}

/// Those whose time has not run out, and how much of it is left to all. The others are not done at all.
fn in_time(batch: &mut Vec<Call>, patience: Duration) -> (Vec<Call>, Duration) {
    let mut left = patience;
    let mut calls = Vec::with_capacity(batch.len());
    for call in batch.drain(..) {
        match patience.checked_sub(call.asked.elapsed()) {
            Some(rest) if !rest.is_zero() => {
                left = left.min(rest);
                calls.push(call);
            }
            _ => {
                let why = "a replica was waited for in vain before its turn came";
                let failed = Failed::Otherwise(Error::Unavailable(why.to_owned()));
                // Whoever asked may be gone.
                let _ = call.done.send(Err(failed));
            }
        }
    }
    (calls, left.max(LEAST))
}

/// Bunches of a size that Redis does in one go.
fn small(mut calls: Vec<Call>) -> Vec<Bunch> {
    let mut bunches = Vec::with_capacity(calls.len().div_ceil(BUNCH));
    while !calls.is_empty() {
        let rest = calls.split_off(calls.len().min(BUNCH));
        bunches.push(Bunch::of(std::mem::replace(&mut calls, rest)));
    }
    bunches
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

/// Calls that go to Redis as one.
struct Bunch {
    keys: Vec<Key>,
    args: Vec<Value>,
    waiting: Vec<Waiting>,
}

/// Whoever waits for an answer, and how many of the keys and arguments are its own.
struct Waiting {
    keys: usize,
    args: usize,
    done: oneshot::Sender<Result<String, Failed>>,
}

impl Bunch {
    fn of(calls: Vec<Call>) -> Self {
        let mut bunch = Self {
            keys: Vec::with_capacity(calls.len() * 5),
            args: Vec::with_capacity(calls.len() * 11),
            waiting: Vec::with_capacity(calls.len()),
        };
        for call in calls {
            let (keys, args) = (call.keys.len(), call.args.len());
            bunch.args.push(int(keys as u64));
            bunch.args.push(int(args as u64));
            bunch.keys.extend(call.keys);
            bunch.args.extend(call.args);
            let done = call.done;
            bunch.waiting.push(Waiting { keys, args, done });
        }
        bunch
    }

    // Whoever asked may be gone: nobody is told then.
    fn answer(self, answer: Result<Value, RedisError>, replicated: bool) {
        match answer {
            Ok(lines) => {
                let lines = lines.as_str().unwrap_or_default();
                let mut lines = lines.split('\n');
                for waiting in self.waiting {
                    let line = lines.next().unwrap_or_default();
                    // What was refused needs no replica.
                    let answer = if replicated || !line.starts_with("ok ") {
                        Ok(line.to_owned())
                    } else {
                        Err(Failed::Otherwise(unavailable(not_replicated())))
                    };
                    let _ = waiting.done.send(answer);
                }
            }
            Err(error) if has_moved(&error) => {
                let (mut keys, mut args) = (self.keys.into_iter(), self.args.into_iter());
                for waiting in self.waiting {
                    let keys = keys.by_ref().take(waiting.keys).collect();
                    // Before them is written how many there are.
                    let args = args.by_ref().skip(2).take(waiting.args).collect();
                    let _ = waiting.done.send(Err(Failed::Moved(keys, args)));
                }
            }
            Err(error) => {
                let error = unavailable(error);
                for waiting in self.waiting {
                    let _ = waiting.done.send(Err(Failed::Otherwise(error.clone())));
                }
            }
        }
    }
}

async fn call(client: &Commands, scripts: &Scripts, calls: Vec<Call>) {
    let bunch = Bunch::of(calls);
    let answer = scripts.commit.run(client, &bunch.keys, &bunch.args).await;
    bunch.answer(answer, true);
}
