//! Writes that count only when a replica has them, too: on a connection of their own, because waiting for it
//! holds up whatever comes behind.

use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error as RedisError, ErrorKind};
use fred::interfaces::{ClientLike, ServerInterface};
use fred::types::config::Options;
use fred::types::{Key, Value};

use super::connect::UNRESPONSIVE;
use super::scripts::{Script, is_unknown};

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The master has it.
    Master,
    /// A replica has it as well.
    Replica,
}

pub struct Durable {
    pub client: Client,
    /// How long a command may wait.
    pub patience: Duration,
}

/// Keys and arguments of one call of a script.
pub type Call<'a> = (&'a [Key], &'a [Value]);

impl Durable {
    /// What the calls answered, in order, and whether a replica has what they did.
    pub async fn run(
        &self,
        script: &Script,
        calls: &[Call<'_>],
        patience: Duration,
    ) -> (Vec<Result<Value, RedisError>>, bool) {
        let all: Vec<_> = calls.iter().map(|call| (true, *call)).collect();
        let (mut answers, mut replicated) = self.send(script, &all, patience).await;
        let is_news = |answer: &Result<Value, RedisError>| answer.as_ref().is_err_and(is_unknown);
        let unknown: Vec<usize> = (0..answers.len())
            .filter(|at| is_news(&answers[*at]))
            .collect();
        if !unknown.is_empty() {
            let again: Vec<_> = unknown.iter().map(|at| (false, calls[*at])).collect();
            let (told, done) = self.send(script, &again, patience).await;
            // The later wait covers what was done before it.
            replicated = done;
            for (at, answer) in unknown.into_iter().zip(told) {
                answers[at] = answer;
            }
        }
        (answers, replicated)
    }

    /// Each call by hash or by source, then the wait, without anything in between.
    async fn send(
        &self,
        script: &Script,
        calls: &[(bool, Call<'_>)],
        patience: Duration,
    ) -> (Vec<Result<Value, RedisError>>, bool) {
        let pipeline = self.client.pipeline().with_options(&Options {
            fail_fast: true,
            // The wait of whoever is before it comes first.
            timeout: Some(self.patience * 2 + patience),
            ..Options::default()
        });
        let queued = async {
            for (known, (keys, args)) in calls {
                script.send(&pipeline, *known, keys, args).await?;
            }
            let time = patience.as_millis().max(1) as i64;
            pipeline.wait::<Value>(1, time).await.map(|_| ())
        };
        let mut answers = match queued.await {
            Ok(()) => pipeline.try_all::<Value>().await,
            Err(error) => vec![Err(error)],
        };
        let waited = answers.pop();
        if answers.len() == calls.len() {
            let replicas = waited.and_then(Result::ok);
            let replicas = replicas.and_then(|replicas| replicas.as_i64());
            return (answers, replicas.is_some_and(|replicas| replicas > 0));
        }
        let error = match waited {
            Some(Err(error)) => error,
            _ => RedisError::new(ErrorKind::Protocol, "answers are missing"),
        };
        if *error.kind() == ErrorKind::Timeout {
            // The library takes a connection that waits for one that lives. It goes on by itself when it takes longer.
            let _ = tokio::time::timeout(UNRESPONSIVE, self.client.force_reconnection()).await;
        }
        let failed = calls.iter().map(|_| Err(error.clone())).collect();
        (failed, false)
    }
}

/// What is said of something that was done, but might be lost with the master.
pub fn not_replicated() -> RedisError {
    RedisError::new(ErrorKind::Timeout, "no replica has it yet")
}
