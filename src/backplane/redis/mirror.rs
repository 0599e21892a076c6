//! Copies of texts on Redis: `code_ID`, as the service wrote it that this replaces.

use async_trait::async_trait;
use fred::interfaces::KeysInterface;
use fred::types::{Key, Value};

use super::{Redis, int, keys};
use crate::backplane::Error;
use crate::backplane::mirror::{MIRRORED, Mirror};
use crate::ids::{Room, SessionId};

#[async_trait]
impl Mirror for Redis {
    async fn mirror(&self, session: &SessionId, code: &str) -> Result<(), Error> {
        let time = MIRRORED.as_millis() as u64;
        let key = Key::from(keys::mirror(self.prefix(), session));
        self.set(key, Value::from(code), time as i64).await?;
        let room = Room::Session(session.clone());
        self.ask(&self.scripts.keep, self.all(&room), vec![int(time)])
            .await?;
        Ok(())
    }

    async fn mirrored(&self, session: &SessionId) -> Result<Option<String>, Error> {
        let key = Key::from(keys::mirror(self.prefix(), session));
        let found = self.shards.ask(&key, |shard| {
            let key = key.clone();
            async move { shard.commands.get(key).await }
        });
        found.await
    }
}
