//! Rows that many write at the same moment, written by one statement.
//!
//! Nobody waits for others to come: while a statement is under way the next rows gather, and go together when it is
//! done. A statement that fails for one row's sake is repeated row by row, so that nobody pays for another's.

use std::future::Future;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::Error;

/// Rows in one statement: SQLite's time grows with the square of its placeholders.
const MOST: usize = 32;
/// Rows that wait; who comes when there are as many waits for a place.
const WAITING: usize = 1_024;

type Asked<R> = (R, oneshot::Sender<Result<bool, Error>>);

/// Rows on their way to one statement.
pub(super) struct Group<R> {
    rows: mpsc::Sender<Asked<R>>,
    queue: Mutex<mpsc::Receiver<Asked<R>>>,
}

impl<R> Default for Group<R> {
    fn default() -> Self {
        let (rows, queue) = mpsc::channel(WAITING);
        Self {
            rows,
            queue: Mutex::new(queue),
        }
    }
}

impl<R> Group<R> {
    /// What the statement says of this row.
    pub async fn put(&self, row: R) -> Result<bool, Error> {
        let stopped = |_| Error::Unavailable("the node is stopping".to_owned());
        let (told, done) = oneshot::channel();
        self.rows.send((row, told)).await.map_err(|_| stopped(()))?;
        done.await.map_err(|_| stopped(()))?
    }

    /// Writes what comes, for as long as it is awaited.
    pub async fn write<F>(&self, statement: impl Fn(Vec<R>) -> F)
    where
        R: Clone,
        F: Future<Output = Result<Vec<bool>, Error>>,
    {
        let mut queue = self.queue.lock().await;
        let mut batch = Vec::with_capacity(MOST);
        while queue.recv_many(&mut batch, MOST).await > 0 {
            let (rows, askers): (Vec<R>, Vec<_>) = batch.drain(..).unzip();
            match statement(rows.clone()).await {
                Ok(answers) => {
                    for (asker, answer) in askers.into_iter().zip(answers) {
                        // Who does not wait any more knows that it may have been done.
                        let _ = asker.send(Ok(answer));
                    }
                }
                Err(Error::Unavailable(why)) => {
                    for asker in askers {
                        let _ = asker.send(Err(Error::Unavailable(why.clone())));
                    }
                }
                Err(_) => {
                    for (row, asker) in rows.into_iter().zip(askers) {
                        let alone = statement(vec![row]).await;
                        let _ = asker.send(alone.map(|answers| answers.contains(&true)));
                    }
                }
            }
        }
    }
}
