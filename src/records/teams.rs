//! Teams, and who is what in them. What a role allows is not known here: who changes members judges what is so, while it
//! is held.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Error, Records};
use crate::clock::Millis;
use crate::ids::{TeamId, UserId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    pub id: TeamId,
    pub name: String,
    pub description: String,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// What a team is to be called; `None`: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamWish {
    pub name: Option<String>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamMember {
    pub user: UserId,
    /// The account's; where there is none, what was known when the member came.
    pub username: String,
    pub role: String,
    pub added_at: Millis,
}

/// What is so while nobody else changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The asker's role, and that of whom it is about.
    pub by: Option<String>,
    pub of: Option<String>,
    /// Owners but the one it is about.
    pub other_owners: u64,
    /// All of them.
    pub members: u64,
}

const COLUMNS: &str = "t.id, t.name, t.description, t.created_at, t.updated_at, m.role";
const MEMBER: &str = "SELECT m.user_id, COALESCE(u.username, m.username) AS username, m.role, m.added_at \
                      FROM team_members m LEFT JOIN users u ON u.id = m.user_id";

impl Records {
    /// A team with its first owner; false when that one made, and is in, as many as may be.
    pub async fn add_team(
        &self,
        team: &Team,
        owner: &TeamMember,
        most: u32,
    ) -> Result<bool, Error> {
        // Held until the end: what is counted is there, and the same user makes none meanwhile.
        let hold = sqlx::query(
            "INSERT INTO team_makers (user_id) VALUES ($1) \
             ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id",
        )
        .bind(owner.user.as_str());
        let count = sqlx::query(
            "SELECT COUNT(*) AS n FROM teams WHERE made_by = $1 \
             AND id IN (SELECT team_id FROM team_members WHERE user_id = $1)",
        )
        .bind(owner.user.as_str())
        .try_map(|row: AnyRow| row.try_get::<i64, _>("n"));
        let add = sqlx::query(
            "INSERT INTO teams (id, name, description, made_by, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(team.id.as_str())
        .bind(team.name.as_str())
        .bind(team.description.as_str())
        .bind(owner.user.as_str())
        .bind(team.created_at)
        .bind(team.updated_at);
        let put = put(&team.id, owner);
        self.run("add_team", async {
            let mut step = self.pool.begin().await?;
            hold.execute(&mut *step).await?;
            let fits = count.fetch_one(&mut *step).await? < i64::from(most);
            if fits {
                add.execute(&mut *step).await?;
                put.execute(&mut *step).await?;
            }
            step.commit().await?;
            Ok(fits)
        })
        .await
    }

    /// A team, and what the user is there; `None` for who is nothing there.
    pub async fn team(&self, id: &TeamId, user: &UserId) -> Result<Option<(Team, String)>, Error> {
        let statement = format!(
            "SELECT {COLUMNS} FROM teams t JOIN team_members m ON m.team_id = t.id \
             WHERE t.id = $1 AND m.user_id = $2"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(id.as_str())
            .bind(user.as_str());
        self.run("team", statement.try_map(read).fetch_optional(&self.pool))
            .await
    }

    /// Those that the user is in, the youngest first, from behind `after` on.
    pub async fn teams_of(
        &self,
        user: &UserId,
        after: Option<&TeamId>,
        most: u32,
    ) -> Result<Vec<(Team, String)>, Error> {
        // Ids of one form and length, whose order is that of their making.
        let behind = after.map_or("t-z", TeamId::as_str);
        let statement = format!(
            "SELECT {COLUMNS} FROM team_members m JOIN teams t ON t.id = m.team_id \
             WHERE m.user_id = $1 AND m.team_id < $2 ORDER BY m.team_id DESC LIMIT $3"
        );
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(user.as_str())
            .bind(behind)
            .bind(i64::from(most));
        self.run("teams_of", statement.try_map(read).fetch_all(&self.pool))
            .await
    }

    /// False when there is no such team.
    pub async fn update_team(
        &self,
        id: &TeamId,
        now: Millis,
        wish: &TeamWish,
    ) -> Result<bool, Error> {
        let statement = sqlx::query(
            "UPDATE teams SET name = COALESCE($1, name), description = COALESCE($2, description), \
             updated_at = $3 WHERE id = $4",
        )
        .bind(wish.name.as_deref())
        .bind(wish.description.as_deref())
        .bind(now)
        .bind(id.as_str());
        let done = self.run("update_team", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// With its members and insights; false when there is no such team.
    pub async fn remove_team(&self, id: &TeamId) -> Result<bool, Error> {
        let statement = sqlx::query("DELETE FROM teams WHERE id = $1").bind(id.as_str());
        let done = self.run("remove_team", statement.execute(&self.pool));
        Ok(done.await?.rows_affected() > 0)
    }

    /// In the order of their ids, from behind `after` on.
    pub async fn team_members(
        &self,
        team: &TeamId,
        after: Option<&UserId>,
        most: u32,
    ) -> Result<Vec<TeamMember>, Error> {
        let statement =
            format!("{MEMBER} WHERE m.team_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3");
        let statement = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(team.as_str())
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::from(most));
        let statement = statement.try_map(read_member);
        self.run("team_members", statement.fetch_all(&self.pool))
            .await
    }

    /// Gives somebody a role in the team if `judge` finds nothing against it, and returns who that is now. What is judged
    /// stays so until it is done.
    pub async fn put_team_member<D>(
        &self,
        team: &TeamId,
        by: &UserId,
        member: &TeamMember,
        judge: impl FnOnce(Standing) -> Result<(), D>,
    ) -> Result<Result<TeamMember, D>, Error> {
        let statement = format!("{MEMBER} WHERE m.team_id = $1 AND m.user_id = $2");
        let look = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(team.as_str())
            .bind(member.user.as_str())
            .try_map(read_member);
        self.run("put_team_member", async {
            let mut step = self.pool.begin().await?;
            hold(team).execute(&mut *step).await?;
            let standing = standing(team, by, &member.user);
            let standing = standing
                .try_map(read_standing)
                .fetch_one(&mut *step)
                .await?;
            let done = match judge(standing) {
                Ok(()) => {
                    put(team, member).execute(&mut *step).await?;
                    Ok(look.fetch_one(&mut *step).await?)
                }
                Err(against) => Err(against),
            };
            step.commit().await?;
            Ok(done)
        })
        .await
    }

    /// Takes somebody out of the team, in the same way. Who is not in it is not in it afterwards.
    pub async fn remove_team_member<D>(
        &self,
        team: &TeamId,
        by: &UserId,
        user: &UserId,
        judge: impl FnOnce(Standing) -> Result<(), D>,
    ) -> Result<Result<(), D>, Error> {
        let remove = sqlx::query("DELETE FROM team_members WHERE team_id = $1 AND user_id = $2")
            .bind(team.as_str())
            .bind(user.as_str());
        self.run("remove_team_member", async {
            let mut step = self.pool.begin().await?;
            hold(team).execute(&mut *step).await?;
            let standing = standing(team, by, user);
            let standing = standing
                .try_map(read_standing)
                .fetch_one(&mut *step)
                .await?;
            let judged = judge(standing);
            if judged.is_ok() {
                remove.execute(&mut *step).await?;
            }
            step.commit().await?;
            Ok(judged)
        })
        .await
    }
}

type Statement<'a> = sqlx::query::Query<'a, sqlx::Any, sqlx::any::AnyArguments>;

/// Held until the end of the transaction: nobody else changes the team's members, or adds to what it has.
pub(super) fn hold(team: &TeamId) -> Statement<'_> {
    sqlx::query("UPDATE teams SET updated_at = updated_at WHERE id = $1").bind(team.as_str())
}

fn put<'a>(team: &'a TeamId, member: &'a TeamMember) -> Statement<'a> {
    sqlx::query(
        "INSERT INTO team_members (team_id, user_id, username, role, added_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (team_id, user_id) DO UPDATE SET role = excluded.role",
    )
    .bind(team.as_str())
    .bind(member.user.as_str())
    .bind(member.username.as_str())
    .bind(member.role.as_str())
    .bind(member.added_at)
}

fn standing<'a>(team: &'a TeamId, by: &'a UserId, of: &'a UserId) -> Statement<'a> {
    sqlx::query(
        "SELECT MAX(CASE WHEN user_id = $2 THEN role END) AS by_role, \
         MAX(CASE WHEN user_id = $3 THEN role END) AS of_role, \
         CAST(COUNT(CASE WHEN role = 'owner' AND user_id <> $3 THEN 1 END) AS BIGINT) AS other_owners, \
         CAST(COUNT(*) AS BIGINT) AS members FROM team_members WHERE team_id = $1",
    )
    .bind(team.as_str())
    .bind(by.as_str())
    .bind(of.as_str())
}

fn read_standing(row: AnyRow) -> Result<Standing, sqlx::Error> {
    let count = |name| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(name)?.max(0) as u64);
    Ok(Standing {
        by: row.try_get("by_role")?,
        of: row.try_get("of_role")?,
        other_owners: count("other_owners")?,
        members: count("members")?,
    })
}

fn read(row: AnyRow) -> Result<(Team, String), sqlx::Error> {
    let id: String = row.try_get("id")?;
    let team = Team {
        id: TeamId::parse(&id).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    };
    Ok((team, row.try_get("role")?))
}

fn read_member(row: AnyRow) -> Result<TeamMember, sqlx::Error> {
    let user: String = row.try_get("user_id")?;
    Ok(TeamMember {
        user: UserId::parse(&user).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        username: row.try_get("username")?,
        role: row.try_get("role")?,
        added_at: row.try_get("added_at")?,
    })
}
