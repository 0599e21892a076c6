//! Teams and their members.

use collabd::ids::TeamId;
use collabd::records::{Standing, Team, TeamMember, TeamWish};

use super::*;

contract!(
    teams_are_listed_page_by_page_to_their_members,
    a_team_is_called_otherwise_and_goes,
    a_user_makes_so_many_teams,
    teams_made_at_once_are_counted,
    a_member_is_put_once_and_anew,
    what_is_judged_stays_so_until_it_is_done,
    owners_who_leave_at_once_leave_one,
    members_are_called_as_their_accounts,
);

pub(super) fn team(name: &str) -> Team {
    Team {
        id: TeamId::new(),
        name: name.to_owned(),
        description: "It's a \"team\"; -- 🦀".to_owned(),
        created_at: 1_000,
        updated_at: 1_000,
    }
}

pub(super) fn member(name: &str, role: &str) -> TeamMember {
    TeamMember {
        user: user(name),
        username: format!("The {name}"),
        role: role.to_owned(),
        added_at: 1_000,
    }
}

/// A team whose owner is ann.
pub(super) async fn made(records: &Records, name: &str) -> Team {
    let team = team(name);
    let added = records.add_team(&team, &member("ann", "owner"), 100).await;
    assert!(added.expect("works"));
    team
}

/// Nothing is against it.
pub(super) async fn put(records: &Records, team: &Team, name: &str, role: &str) -> TeamMember {
    let member = member(name, role);
    let fine = |_| Ok::<_, ()>(());
    let put = records
        .put_team_member(&team.id, &user("ann"), &member, fine)
        .await;
    put.expect("works").expect("nothing is against it")
}

async fn roles(records: &Records, team: &Team) -> Vec<(String, String)> {
    let listed = records.team_members(&team.id, None, 100).await;
    let listed = listed.expect("works").into_iter();
    listed
        .map(|member| (member.user.to_string(), member.role))
        .collect()
}

async fn teams_are_listed_page_by_page_to_their_members(subject: Subject) {
    let (records, bob) = (&subject.records, user("bob"));
    let mut right = Vec::new();
    for number in 0..7 {
        let team = made(records, &format!("Team {number}")).await;
        if number % 2 == 0 {
            put(records, &team, "bob", "admin").await;
            right.push((team, "admin".to_owned()));
        }
    }
    right.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = records.teams_of(&bob, after.as_ref(), 3).await;
        let page = page.expect("works");
        let Some((last, _)) = page.last() else {
            break;
        };
        assert!(page.len() <= 3);
        after = Some(last.id.clone());
        seen.extend(page);
    }
    assert_eq!(seen, right);
    let (team, _) = &right[0];
    let found = records.team(&team.id, &bob).await.expect("works");
    assert_eq!(found.as_ref(), Some(&right[0]));
    let stranger = user("cat");
    let found = records.team(&team.id, &stranger).await;
    assert_eq!(found.expect("works"), None);
    let found = records.teams_of(&stranger, None, 9).await;
    assert_eq!(found.expect("works"), []);
}

async fn a_team_is_called_otherwise_and_goes(subject: Subject) {
    let records = &subject.records;
    let (mut team, other) = (made(records, "Before").await, made(records, "Other").await);
    let ann = user("ann");
    team.name = "'; DROP TABLE teams; --".to_owned();
    team.updated_at = 2_000;
    let wish = TeamWish {
        name: Some(team.name.clone()),
        ..TeamWish::default()
    };
    let update = || records.update_team(&team.id, 2_000, &wish);
    assert!(update().await.expect("works"));
    let found = records.team(&team.id, &ann).await.expect("works");
    assert_eq!(found, Some((team.clone(), "owner".to_owned())));
    assert!(records.remove_team(&team.id).await.expect("works"));
    assert!(!records.remove_team(&team.id).await.expect("works"));
    assert!(!update().await.expect("works"));
    assert_eq!(records.team(&team.id, &ann).await.expect("works"), None);
    assert_eq!(roles(records, &team).await, []);
    let left = records.teams_of(&ann, None, 9).await.expect("works");
    assert_eq!(left, [(other, "owner".to_owned())]);
}

async fn a_user_makes_so_many_teams(subject: Subject) {
    let records = &subject.records;
    let ann = member("ann", "owner");
    let add = |team: Team| {
        let ann = &ann;
        async move { records.add_team(&team, ann, 2).await.expect("works") }
    };
    let (first, second) = (team("1"), team("2"));
    assert!(add(first.clone()).await && add(second.clone()).await);
    assert!(!add(team("3")).await, "two are made");
    let bob = records
        .add_team(&team("B"), &member("bob", "owner"), 2)
        .await;
    assert!(bob.expect("works"), "others are counted apart");
    records.remove_team(&first.id).await.expect("works");
    assert!(add(team("4")).await, "one has gone");
    let fine = |_| Ok::<_, ()>(());
    let left = records.remove_team_member(&second.id, &ann.user, &ann.user, fine);
    assert_eq!(left.await.expect("works"), Ok(()));
    assert!(add(team("5")).await, "one was left");
}

/// Guards the count against those who are counted at the same moment.
async fn teams_made_at_once_are_counted(subject: Subject) {
    let records = Arc::new(open(&subject.config).await);
    let mut makers = JoinSet::new();
    for number in 0..8 {
        let records = records.clone();
        makers.spawn(async move {
            let team = team(&number.to_string());
            records.add_team(&team, &member("ann", "owner"), 3).await
        });
    }
    let mut made = 0;
    while let Some(maker) = makers.join_next().await {
        made += usize::from(maker.expect("nobody panics").expect("works"));
    }
    assert_eq!(made, 3);
    let teams = records.teams_of(&user("ann"), None, 9).await;
    assert_eq!(teams.expect("works").len(), 3);
}

async fn a_member_is_put_once_and_anew(subject: Subject) {
    let records = &subject.records;
    let team = made(records, "Team").await;
    assert_eq!(
        put(records, &team, "bob", "member").await,
        member("bob", "member")
    );
    let later = TeamMember {
        added_at: 9_000,
        username: "Another".to_owned(),
        ..member("bob", "admin")
    };
    let fine = |_| Ok::<_, ()>(());
    let put_anew = records
        .put_team_member(&team.id, &user("ann"), &later, fine)
        .await;
    let bob = put_anew.expect("works").expect("nothing is against it");
    assert_eq!(bob, member("bob", "admin"), "the role alone is another");
    put(records, &team, "cat", "member").await;
    for (after, right) in [(None, vec!["ann", "bob"]), (Some("bob"), vec!["cat"])] {
        let after = after.map(user);
        let page = records.team_members(&team.id, after.as_ref(), 2).await;
        let page = page.expect("works").into_iter();
        let ids: Vec<_> = page.map(|one| one.user.to_string()).collect();
        assert_eq!(ids, right);
    }
}

async fn what_is_judged_stays_so_until_it_is_done(subject: Subject) {
    let records = &subject.records;
    let team = made(records, "Team").await;
    put(records, &team, "bob", "member").await;
    put(records, &team, "dan", "owner").await;
    let (ann, cat) = (user("ann"), member("cat", "admin"));
    let mut seen = None;
    let refused = records.put_team_member(&team.id, &ann, &cat, |standing| {
        seen = Some(standing);
        Err("no")
    });
    assert_eq!(refused.await.expect("works"), Err("no"));
    let standing = Standing {
        by: Some("owner".to_owned()),
        of: None,
        other_owners: 2,
        members: 3,
    };
    assert_eq!(seen, Some(standing));
    assert_eq!(roles(records, &team).await.len(), 3, "cat was not put");
    let mut seen = None;
    let bob = user("bob");
    let refused = records.remove_team_member(&team.id, &bob, &ann, |standing| {
        seen = Some(standing);
        Err("no")
    });
    assert_eq!(refused.await.expect("works"), Err("no"));
    let standing = Standing {
        by: Some("member".to_owned()),
        of: Some("owner".to_owned()),
        other_owners: 1,
        members: 3,
    };
    assert_eq!(seen, Some(standing));
    assert_eq!(roles(records, &team).await.len(), 3, "ann was not removed");
    // Nobody is anything in a team that never was, and nobody gets into it.
    let nowhere = TeamId::new();
    let put = records.put_team_member(&nowhere, &ann, &cat, |standing| {
        assert_eq!((standing.by, standing.members), (None, 0));
        Ok::<_, ()>(())
    });
    let put = put.await;
    assert!(matches!(put, Err(Error::Bound)), "{put:?}");
}

/// Guards a team against being left without an owner, by all of them at once.
async fn owners_who_leave_at_once_leave_one(subject: Subject) {
    let records = Arc::new(open(&subject.config).await);
    let team = made(&records, "Team").await;
    let owners = ["ann", "bob", "cat", "dan"];
    for owner in owners {
        put(&records, &team, owner, "owner").await;
    }
    let mut leaving = JoinSet::new();
    for owner in owners {
        let (records, team) = (records.clone(), team.id.clone());
        leaving.spawn(async move {
            let owner = user(owner);
            let judge = |standing: Standing| match standing.other_owners {
                0 => Err("the last"),
                _ => Ok(()),
            };
            records
                .remove_team_member(&team, &owner, &owner, judge)
                .await
        });
    }
    let mut stayed = 0;
    while let Some(left) = leaving.join_next().await {
        let left = left.expect("nobody panics").expect("works");
        stayed += usize::from(left.is_err());
    }
    assert_eq!(stayed, 1);
    assert_eq!(roles(&records, &team).await.len(), 1);
}

async fn members_are_called_as_their_accounts(subject: Subject) {
    let records = &subject.records;
    let team = made(records, "Team").await;
    let account = account("ann");
    let ann = TeamMember {
        user: account.id.clone(),
        ..member("ann", "member")
    };
    let fine = |_| Ok::<_, ()>(());
    let name = || async {
        let listed = records
            .team_members(&team.id, None, 9)
            .await
            .expect("works");
        let found = listed.into_iter().find(|one| one.user == account.id);
        found.expect("she is a member").username
    };
    let put = records
        .put_team_member(&team.id, &user("ann"), &ann, fine)
        .await;
    put.expect("works").expect("nothing is against it");
    assert_eq!(name().await, "The ann");
    records.add_account(&account).await.expect("works");
    assert_eq!(name().await, account.username);
}
