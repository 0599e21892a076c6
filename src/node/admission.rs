//! Who may come in: a token is believed, a session admits, a place among the user's sockets is free.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinError;

use super::lobby::TOKEN_GONE;
use super::{Denied, Node};
use crate::auth::{BadToken, Identity, Role};
use crate::backplane::{Access, BANNED, Error};
use crate::ids::{Room, SessionId, SocketId, UserId};

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    #[error(transparent)]
    Token(#[from] BadToken),
    #[error("{TOKEN_GONE}")]
    Void,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error(transparent)]
    Backplane(#[from] Error),
    #[error("the database that has the session cannot be reached now; come again")]
    Records,
    #[error("the user service, which says who comes, cannot be asked now; come again")]
    UserService,
    #[error("the node is about to leave; come again, here or elsewhere")]
    Leaving,
}

/// Whose places this node's sockets took, in the session or still on their way in.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<SocketId, UserId>>);

impl Places {
    pub(super) fn all(&self) -> Vec<(SocketId, UserId)> {
        let taken = self.0.lock();
        taken.iter().map(|(id, user)| (*id, user.clone())).collect()
    }

    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.0.lock().contains_key(&socket)
    }
}

/// A place for one socket of a user, on its way in or in. It is given back when this goes.
pub struct Admission {
    node: Arc<Node>,
    pub user: UserId,
    pub socket: SocketId,
}

impl Node {
    /// Lets a user into a session, or says why not. Goes on to its end when nobody waits for it any more: what was
    /// begun half would be given back by nobody.
    pub async fn admit(
        self: &Arc<Self>,
        session: &SessionId,
        user: &UserId,
        identity: Option<&Identity>,
    ) -> Result<Admission, NotAdmitted> {
        let (session, user) = (session.clone(), user.clone());
        let (node, identity) = (self.clone(), identity.cloned());
        let admitted = self.farewells.spawn(async move {
            let identity = identity.as_ref();
            node.take_place(Some(&session), &user, identity).await
        });
        admitted.await.unwrap_or_else(failed)
    }

    /// The same for who enters no session yet.
    pub async fn admit_user(
        self: &Arc<Self>,
        user: &UserId,
        identity: Option<&Identity>,
    ) -> Result<Admission, NotAdmitted> {
        let (node, user, identity) = (self.clone(), user.clone(), identity.cloned());
        let admitted = self
            .farewells
            .spawn(async move { node.take_place(None, &user, identity.as_ref()).await });
        admitted.await.unwrap_or_else(failed)
    }

    async fn take_place(
        self: &Arc<Self>,
        session: Option<&SessionId>,
        user: &UserId,
        identity: Option<&Identity>,
    ) -> Result<Admission, NotAdmitted> {
        if self.is_closing() {
            return Err(NotAdmitted::Leaving);
        }
        if !self.is_leased() {
            let why = "nobody knows of this node yet".to_owned();
            return Err(Error::Unavailable(why).into());
        }
        if let Some(session) = session {
            self.check_session(session, user, identity).await?;
        }
        let room = Room::User(user.clone());
        self.listening.hold(&room).await?;
        let admission = Admission {
            node: self.clone(),
            user: user.clone(),
            socket: SocketId::next(self.id()),
        };
        let places = &self.places.0;
        places.lock().insert(admission.socket, user.clone());
        if let Some(identity) = identity {
            self.give_pass(admission.socket, identity).await?;
        }
        let most = self.config.places_per_user;
        self.backplane.admit(user, admission.socket, most).await?;
        Ok(admission)
    }

    /// From here on the socket ends with its token.
    async fn give_pass(&self, socket: SocketId, identity: &Identity) -> Result<(), NotAdmitted> {
        let token = identity.id.clone();
        self.passes.put(socket, identity.ends_at(), token.clone());
        // Put first, looked second: a revocation in between has seen the socket, or is seen here.
        if let Some(token) = token
            && self.backplane.is_revoked(&token).await?
        {
            self.close_token(&token);
            return Err(NotAdmitted::Void);
        }
        Ok(())
    }

    /// Whether the session is one this user may enter.
    pub async fn check_session(
        &self,
        session: &SessionId,
        user: &UserId,
        identity: Option<&Identity>,
    ) -> Result<(), NotAdmitted> {
        if identity.is_some_and(|identity| !identity.admits(session)) {
            return Err(NotAdmitted::Forbidden(
                "the token is for other sessions than this one",
            ));
        }
        if session.is_recorded() && identity.is_none() {
            return Err(NotAdmitted::Forbidden(
                "this session is recorded: it admits only those who show a token",
            ));
        }
        let room = Room::Session(session.clone());
        let access = match self.backplane.standing(&room, user).await {
            Err(Error::Missing) if session.is_recorded() => {
                self.restore_for(session).await?;
                self.backplane.standing(&room, user).await?
            }
            Err(Error::Missing) if self.config.autocreate => Access::default(),
            other => other?,
        };
        let trusted = identity.is_some_and(is_trusted);
        match access.role.as_deref() {
            Some(BANNED) => return Err(Error::Forbidden.into()),
            // Of some other making: nobody has a role there.
            None if session.is_recorded() => return Err(Error::Missing.into()),
            _ => {}
        }
        let believed = identity.is_some() && self.wants_tokens();
        if access.matched && believed && !trusted {
            let admitted = self.backplane.admitted(&room).await?;
            if !admitted.contains(user) {
                return Err(NotAdmitted::Forbidden(
                    "this session is for the users it was matched for",
                ));
            }
        }
        Ok(())
    }

    async fn restore_for(&self, session: &SessionId) -> Result<(), NotAdmitted> {
        let restored = self.roster.restore(&self.backplane, session).await;
        restored.map_err(|why| match why {
            Denied::Node(why) => why,
            // Without records there are none.
            Denied::NoRecords => Error::Missing.into(),
            Denied::Records(_) => NotAdmitted::Records,
            other => Error::Unavailable(other.to_string()).into(),
        })
    }

    /// A new token for a live socket, in place of the one it came in with. Returns until when it holds, in
    /// seconds since 1970.
    pub(super) async fn renew(
        &self,
        socket: SocketId,
        user: &UserId,
        session: Option<&SessionId>,
        token: &str,
    ) -> Result<i64, NotAdmitted> {
        if !self.wants_tokens() && !self.passes.has(socket) {
            return Err(NotAdmitted::Forbidden(
                "this socket came without a token: there is none to renew",
            ));
        }
        let identity = self.identify_once(token).await?;
        if identity.user != *user {
            return Err(NotAdmitted::Forbidden(
                "the token is another user's; connect anew to be somebody else",
            ));
        }
        if session.is_some_and(|session| !identity.admits(session)) {
            return Err(NotAdmitted::Forbidden(
                "the token is for other sessions than this one",
            ));
        }
        self.give_pass(socket, &identity).await?;
        Ok(identity.expires_at)
    }
}

fn failed(error: JoinError) -> Result<Admission, NotAdmitted> {
    let why = format!("letting somebody in failed: {error}");
    Err(Error::Unavailable(why).into())
}

/// Admins and services may enter any session and end it.
pub fn is_trusted(identity: &Identity) -> bool {
    matches!(identity.role, Some(Role::Admin | Role::Service))
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.node.passes.remove(self.socket);
        // First: whoever takes the places once more looks here afterwards.
        self.node.places.0.lock().remove(&self.socket);
        let (node, user, socket) = (self.node.clone(), self.user.clone(), self.socket);
        let again = self.node.clone();
        self.node.farewells.spawn(async move {
            let room = Room::User(user.clone());
            if again
                .insist(&room, || node.backplane.dismiss(&user, socket))
                .await
            {
                node.stop_holding(&room).await;
            }
        });
    }
}
