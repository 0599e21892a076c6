//! Teams: made, called something, given members, and gone. Only who is in one sees that it is there.

use super::{Denied, Node};
use crate::auth::Identity;
use crate::domain::teams::{self, Change, Refusal, Role};
use crate::domain::{Code, Reject};
use crate::ids::{TeamId, UserId};
use crate::records::{Records, Standing, Team, TeamMember, TeamWish};

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Teams that a user made and is in.
    pub per_user: u32,
    /// Members of a team.
    pub members: u32,
    /// Insights of a team.
    pub insights: u32,
}

/// One of a team's people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mate {
    pub user: UserId,
    pub username: String,
    pub role: Role,
    pub added_at: crate::clock::Millis,
}

impl Node {
    /// The caller is its owner.
    pub async fn create_team(
        &self,
        caller: &Identity,
        name: String,
        description: String,
    ) -> Result<Team, Denied> {
        let records = self.team_books(caller)?;
        teams::name(&name)?;
        teams::description(&description)?;
        let now = self.clock().now();
        let team = Team {
            id: TeamId::new(),
            name,
            description,
            created_at: now,
            updated_at: now,
        };
        let owner = TeamMember {
            user: caller.user.clone(),
            username: name_of(caller),
            role: Role::Owner.word().to_owned(),
            added_at: now,
        };
        let most = self.config.teams.per_user;
        if !records.add_team(&team, &owner, most).await? {
            let sentence = format!("you have made {most} teams, as many as you may have");
            return Err(Reject::new(Code::TooMany, sentence).into());
        }
        tracing::info!(target: "audit", team = %team.id, user = %caller.user, "team made");
        Ok(team)
    }

    /// A team, and what the caller is in it.
    pub async fn team(&self, team: &TeamId, caller: &Identity) -> Result<(Team, Role), Denied> {
        let found = self.team_books(caller)?.team(team, &caller.user).await?;
        let (found, role) = found.ok_or(Denied::Missing("team"))?;
        Ok((found, Role::of(&role)))
    }

    /// Those that the caller is in, the youngest first.
    pub async fn teams_of(
        &self,
        caller: &Identity,
        after: Option<&TeamId>,
        most: u32,
    ) -> Result<Vec<(Team, Role)>, Denied> {
        let records = self.team_books(caller)?;
        let found = records.teams_of(&caller.user, after, most).await?;
        let known = found.into_iter();
        Ok(known.map(|(team, role)| (team, Role::of(&role))).collect())
    }

    pub async fn update_team(
        &self,
        team: &TeamId,
        caller: &Identity,
        wish: TeamWish,
    ) -> Result<(Team, Role), Denied> {
        let (before, role) = self.team(team, caller).await?;
        if !role.may_manage() {
            return Err(Denied::Forbidden(
                "your role in this team does not allow this; right is owner or admin",
            ));
        }
        wish.name.as_deref().map_or(Ok(()), teams::name)?;
        let description = wish.description.as_deref();
        description.map_or(Ok(()), teams::description)?;
        if wish == TeamWish::default() {
            return Ok((before, role));
        }
        let now = self.clock().now();
        self.books()?.update_team(team, now, &wish).await?;
        self.team(team, caller).await
    }

    /// With its insights.
    pub async fn delete_team(&self, team: &TeamId, caller: &Identity) -> Result<(), Denied> {
        let (_, role) = self.team(team, caller).await?;
        if role != Role::Owner {
            return Err(Denied::Forbidden(
                "your role in this team does not allow this; right is owner",
            ));
        }
        self.books()?.remove_team(team).await?;
        tracing::info!(target: "audit", %team, by = %caller.user, "team deleted");
        Ok(())
    }

    /// In the order of their ids, from behind `after` on.
    pub async fn mates(
        &self,
        team: &TeamId,
        caller: &Identity,
        after: Option<&UserId>,
        most: u32,
    ) -> Result<Vec<Mate>, Denied> {
        self.team(team, caller).await?;
        let found = self.books()?.team_members(team, after, most).await?;
        Ok(found.into_iter().map(Mate::of).collect())
    }

    /// Gives somebody a role in the team, or another one.
    pub async fn put_mate(
        &self,
        team: &TeamId,
        caller: &Identity,
        user: &UserId,
        word: &str,
    ) -> Result<Mate, Denied> {
        // Who is not in the team learns nothing of it, not even what would be wrong.
        self.team(team, caller).await?;
        let role = Role::parse(word)?;
        let member = TeamMember {
            user: user.clone(),
            username: if *user == caller.user {
                name_of(caller)
            } else {
                user.to_string()
            },
            role: role.word().to_owned(),
            added_at: self.clock().now(),
        };
        let most = self.config.teams.members;
        let by = &caller.user;
        let judge = |standing: Standing| -> Result<(), Denied> {
            judge(&standing, by == user, Some(role))?;
            if standing.of.is_none() && standing.members >= u64::from(most) {
                let sentence = format!("the team has {most} members, as many as it may have");
                return Err(Reject::new(Code::TooMany, sentence).into());
            }
            Ok(())
        };
        let put = self.books()?.put_team_member(team, by, &member, judge);
        let mate = put.await??;
        tracing::info!(target: "audit", %team, %user, role = role.word(), %by, "team role given");
        Ok(Mate::of(mate))
    }

    /// Takes somebody out of the team, who may be the caller.
    pub async fn remove_mate(
        &self,
        team: &TeamId,
        caller: &Identity,
        user: &UserId,
    ) -> Result<(), Denied> {
        let by = &caller.user;
        let judge = |standing: Standing| judge(&standing, by == user, None);
        let records = self.team_books(caller)?;
        let removed = records.remove_team_member(team, by, user, judge);
        removed.await??;
        tracing::info!(target: "audit", %team, %user, %by, "team member removed");
        Ok(())
    }

    /// The records, for whose token is not for certain sessions alone.
    pub(super) fn team_books(&self, caller: &Identity) -> Result<&Records, Denied> {
        if caller.sessions.is_some() {
            return Err(Denied::Forbidden("the token is for certain sessions alone"));
        }
        self.books()
    }
}

impl Mate {
    fn of(member: TeamMember) -> Self {
        Self {
            user: member.user,
            username: member.username,
            role: Role::of(&member.role),
            added_at: member.added_at,
        }
    }
}

/// Where there is no account.
pub(super) fn name_of(caller: &Identity) -> String {
    let name = caller.name.as_deref();
    name.unwrap_or(caller.user.as_str()).to_owned()
}

fn judge(standing: &Standing, own: bool, to: Option<Role>) -> Result<(), Denied> {
    let by = standing.by.as_deref().ok_or(Denied::Missing("team"))?;
    let change = Change {
        by: Role::of(by),
        own,
        from: standing.of.as_deref().map(Role::of),
        to,
        other_owners: standing.other_owners > 0,
    };
    change.judge().map_err(|refusal| match refusal {
        Refusal::Forbidden(sentence) => Denied::Forbidden(sentence),
        Refusal::LastOwner => Denied::Conflict(
            "the team has no other owner; right is to make somebody else owner first, or to delete the team",
        ),
    })
}
