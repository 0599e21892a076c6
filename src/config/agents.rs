//! The settings of workspaces and agents.

use super::Reader;
use crate::node::{agents, workspaces};

impl Reader<'_> {
    pub(super) fn agents(&mut self) -> agents::Config {
        agents::Config {
            followed: self.whole("MAX_AGENT_SUBSCRIPTIONS"),
            lost_after: self.seconds("AGENT_LOST_AFTER"),
            silence: self.seconds("AGENT_SILENCE"),
        }
    }

    pub(super) fn workspaces(&mut self) -> workspaces::Config {
        workspaces::Config {
            members: self.whole("MAX_WORKSPACE_MEMBERS"),
        }
    }
}
