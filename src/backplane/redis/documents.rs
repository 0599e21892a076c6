//! Documents on Redis: `{session:ID}:doc` is the snapshot, `{session:ID}:doc:log` a stream of what came since.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Redis, bin, bytes, int, none, number, text};
use crate::backplane::Error;
use crate::backplane::documents::{Base, Documents, Stored};
use crate::ids::{Epoch, Room};

/// Parts of the script's answer before the log.
const BEFORE: usize = 7;

#[async_trait]
impl Documents for Redis {
    async fn document(&self, room: &Room, since: Option<(Epoch, u64)>) -> Result<Stored, Error> {
        let keys = self.keys(room);
        let named = vec![keys.state(), keys.document(), keys.document_log()];
        let args = match since {
            Some((epoch, version)) => vec![text(epoch.0.to_string()), int(version)],
            None => vec![none(), int(0)],
        };
        let parts = self.ask(&self.scripts.document, named, args).await?;
        let (epoch, version) = (Epoch(number(&parts, 1)?), number(&parts, 2)?);
        let shown = number(&parts, 6)?;
        let mut parts = parts.into_iter().map(bytes).skip(3);
        let mut next = || parts.next().unwrap_or_default();
        let (base, snapshot, code) = (next(), next(), next());
        let base = match &*base {
            b"" => Base::None,
            b"known" => Base::Known,
            version => Base::Snapshot(decimal(version)?, snapshot),
        };
        let mut log = Vec::new();
        let mut parts = parts.skip(BEFORE - 6);
        while let (Some(version), Some(entry)) = (parts.next(), parts.next()) {
            log.push((decimal(&version)?, entry));
        }
        let code = String::from_utf8_lossy(&code).into_owned();
        Ok(Stored {
            epoch,
            version,
            base,
            log,
            view: (code, shown),
        })
    }

    async fn compact(
        &self,
        room: &Room,
        epoch: Epoch,
        from: Option<u64>,
        to: u64,
        snapshot: Bytes,
    ) -> Result<bool, Error> {
        self.lease.check()?;
        let keys = self.keys(room);
        let named = vec![keys.state(), keys.document(), keys.document_log()];
        let args = vec![
            text(epoch.0.to_string()),
            from.map_or_else(none, int),
            int(to),
            bin(snapshot),
        ];
        let parts = self.write(&self.scripts.compact, named, args).await?;
        Ok(number(&parts, 1)? == 1)
    }

    async fn show(
        &self,
        room: &Room,
        epoch: Epoch,
        version: u64,
        code: &str,
    ) -> Result<bool, Error> {
        self.lease.check()?;
        let named = vec![self.keys(room).state()];
        let args = vec![text(epoch.0.to_string()), int(version), text(code)];
        let parts = self.ask(&self.scripts.show, named, args).await?;
        Ok(number(&parts, 1)? == 1)
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Error> {
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Error::Unavailable("a document's version is no number".to_owned()))
}
