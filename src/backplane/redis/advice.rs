//! What a server is set up to lose: said once when it is met, because afterwards it is too late.
//!
//! Read from `INFO`: managed servers, and users with few rights, may not ask for settings.

use fred::interfaces::ClientLike;
use fred::types::InfoKind;

use super::durable::Durability;
use super::shard::Shard;

/// Says what is to be said of the server, unless it is the one it was said of; returns which one it is.
pub async fn give(shard: &Shard, durability: Durability, given: Option<String>) -> Option<String> {
    let info = match shard.commands.info::<String>(Some(InfoKind::Default)).await {
        Ok(info) => info,
        Err(error) => {
            tracing::debug!(server = shard.name, %error, "a server does not tell of itself");
            return given;
        }
    };
    let server = field(&info, "run_id").map(str::to_owned);
    if server.is_some() && server == given {
        return given;
    }
    for advice in advice(&info, durability) {
        tracing::warn!(server = shard.name, "{advice}");
    }
    server.or(given)
}

fn advice(info: &str, durability: Durability) -> Vec<String> {
    let mut advice = Vec::new();
    if field(info, "aof_enabled") == Some("0") {
        advice.push("appendonly is off: a restart of redis loses what was acknowledged".to_owned());
    }
    if let Some(policy) = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        advice.push(format!(
            "maxmemory-policy is {policy}: redis may throw sessions away; noeviction keeps them"
        ));
    }
    if durability == Durability::Replica && field(info, "connected_slaves") == Some("0") {
        advice.push(
            "DURABILITY is replica, and redis has none: nothing will be acknowledged".to_owned(),
        );
    }
    advice
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nrun_id:abc\r\n# Memory\r\nmaxmemory_policy:allkeys-lru\r\n\
        # Persistence\r\naof_enabled:0\r\n# Replication\r\nconnected_slaves:0\r\n";

    #[test]
    fn what_may_be_lost_is_said() {
        assert_eq!(field(INFO, "run_id"), Some("abc"));
        let said = advice(INFO, Durability::Replica);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("appendonly is off"));
        assert!(said[1].contains("allkeys-lru"));
        assert_eq!(advice(INFO, Durability::Master).len(), 2);
        let good = "aof_enabled:1\r\nmaxmemory_policy:noeviction\r\nconnected_slaves:1\r\n";
        assert!(advice(good, Durability::Replica).is_empty());
        assert!(advice("", Durability::Master).is_empty());
    }
}
