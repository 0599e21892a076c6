//! What teams note of sessions, and what is counted of their members.

use super::teams::name_of;
use super::{Denied, Node};
use crate::auth::Identity;
use crate::clock::Millis;
use crate::domain::teams::{self, Role};
use crate::domain::{Code, Reject};
use crate::ids::{InsightId, SessionId, TeamId};
use crate::records::{self, Insight, InsightWish, Sought, TeamCounts};

/// What somebody writes.
pub struct Note {
    pub team: TeamId,
    pub session: SessionId,
    pub title: String,
    pub body: String,
    pub tags: Vec<String>,
}

const NO_INSIGHT: Denied = Denied::Missing("insight");

impl Node {
    /// By a member of the team, about a session that this one may attend, or might have before it ended.
    pub async fn add_insight(&self, caller: &Identity, note: Note) -> Result<Insight, Denied> {
        self.team(&note.team, caller).await?;
        teams::title(&note.title)?;
        teams::body(&note.body)?;
        let tags = teams::tags(note.tags)?;
        self.attends(&note.session, caller).await?;
        let now = self.clock().now();
        let insight = Insight {
            id: InsightId::new(),
            team: note.team,
            session: note.session,
            author: caller.user.clone(),
            author_name: name_of(caller),
            title: note.title,
            body: note.body,
            tags,
            created_at: now,
            updated_at: now,
        };
        let (records, most) = (self.books()?, self.config.teams.insights);
        match records.add_insight(&insight, most).await {
            Ok(true) => {}
            Ok(false) => {
                let sentence = format!("the team has {most} insights, as many as it may have");
                return Err(Reject::new(Code::TooMany, sentence).into());
            }
            // It went meanwhile.
            Err(records::Error::Bound) => return Err(Denied::Missing("team")),
            Err(error) => return Err(error.into()),
        }
        // As everybody reads it: by the name of the account.
        records.insight(&insight.id).await?.ok_or(NO_INSIGHT)
    }

    pub async fn insight(&self, id: &InsightId, caller: &Identity) -> Result<Insight, Denied> {
        Ok(self.known_insight(id, caller).await?.0)
    }

    /// Those of a team, the youngest first.
    pub async fn insights(
        &self,
        team: &TeamId,
        caller: &Identity,
        sought: &Sought,
    ) -> Result<Vec<Insight>, Denied> {
        sought.text.as_deref().map_or(Ok(()), teams::sought)?;
        sought.tag.as_deref().map_or(Ok(()), teams::tag)?;
        self.team(team, caller).await?;
        Ok(self.books()?.insights(team, sought).await?)
    }

    pub async fn update_insight(
        &self,
        id: &InsightId,
        caller: &Identity,
        wish: InsightWish,
    ) -> Result<Insight, Denied> {
        let before = self.own_insight(id, caller).await?;
        wish.title.as_deref().map_or(Ok(()), teams::title)?;
        wish.body.as_deref().map_or(Ok(()), teams::body)?;
        let wish = InsightWish {
            tags: wish.tags.map(teams::tags).transpose()?,
            ..wish
        };
        if wish == InsightWish::default() {
            return Ok(before);
        }
        let records = self.books()?;
        let now = self.clock().now();
        records.update_insight(id, now, &wish).await?;
        records.insight(id).await?.ok_or(NO_INSIGHT)
    }

    pub async fn delete_insight(&self, id: &InsightId, caller: &Identity) -> Result<(), Denied> {
        self.own_insight(id, caller).await?;
        self.books()?.remove_insight(id).await?;
        Ok(())
    }

    /// What the members did from one moment to before another; for members.
    pub async fn team_counts(
        &self,
        team: &TeamId,
        caller: &Identity,
        from: Millis,
        to: Millis,
    ) -> Result<TeamCounts, Denied> {
        self.team(team, caller).await?;
        Ok(self.books()?.team_counts(team, from, to).await?)
    }

    /// An insight of a team that the caller is in, and as what.
    async fn known_insight(
        &self,
        id: &InsightId,
        caller: &Identity,
    ) -> Result<(Insight, Role), Denied> {
        let records = self.team_books(caller)?;
        let found = records.insight(id).await?.ok_or(NO_INSIGHT)?;
        let role = records.team(&found.team, &caller.user).await?;
        let (_, role) = role.ok_or(NO_INSIGHT)?;
        Ok((found, Role::of(&role)))
    }

    /// The same for who may change it.
    async fn own_insight(&self, id: &InsightId, caller: &Identity) -> Result<Insight, Denied> {
        let (found, role) = self.known_insight(id, caller).await?;
        if found.author != caller.user && !role.may_manage() {
            return Err(Denied::Forbidden(
                "this insight is not yours; right is its author, or the team's owner or admin",
            ));
        }
        Ok(found)
    }
}
