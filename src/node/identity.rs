//! Whom the node believes: the keys that tokens are verified by, and the one it signs its own with.
//!
//! An open node believes everybody, and still has accounts: without a secret of its own it takes the one that its
//! cluster made, so that every node believes the others' tokens.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Node, NotAdmitted};
use crate::auth::{self, BadToken, Claims, Identity, Verifier};

/// What tells these tokens from others that are signed with the nodes' secret.
const PURPOSE: &str = "accounts";

#[derive(Default)]
pub struct Identities {
    required: bool,
    given: Option<Arc<Verifier>>,
    /// What signs, if it was given.
    secret: Option<Arc<str>>,
    issuer: Option<String>,
    audience: Option<String>,
    made: Mutex<Option<Made>>,
}

/// Keys made of the nodes' secret.
#[derive(Clone)]
struct Made {
    of: Arc<str>,
    secret: Arc<str>,
    verifier: Arc<Verifier>,
}

impl Identities {
    pub fn new(config: auth::Config) -> Result<Self, String> {
        let has_keys = !config.secrets.is_empty() || config.jwks.is_some();
        Ok(Self {
            required: config.required,
            secret: config.secrets.first().map(|secret| secret.as_str().into()),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            given: match has_keys {
                true => Some(Arc::new(Verifier::new(config)?)),
                false => None,
            },
            made: Mutex::default(),
        })
    }

    /// Whether nobody is believed without a token.
    pub fn are_required(&self) -> bool {
        self.required
    }

    /// Whether tokens are signed here: not where all are another issuer's.
    fn sign(&self) -> bool {
        self.secret.is_some() || self.given.is_none()
    }

    fn made_of(&self, nodes_secret: &Arc<str>) -> Result<Made, String> {
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| made.of == *nodes_secret) {
            return Ok(made.clone());
        }
        let secret = format!("{PURPOSE}:{nodes_secret}");
        let keys = auth::Config {
            secrets: vec![secret.clone()],
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            ..auth::Config::default()
        };
        let fresh = Made {
            of: nodes_secret.clone(),
            secret: secret.into(),
            verifier: Arc::new(Verifier::new(keys)?),
        };
        tracing::info!(
            "tokens are signed with a secret that this cluster made; set JWT_SECRET to choose it"
        );
        Ok(made.insert(fresh).clone())
    }
}

impl Node {
    /// Whether tokens say who somebody is; otherwise everybody is believed.
    pub fn wants_tokens(&self) -> bool {
        self.identities.are_required()
    }

    /// Those to be kept fresh.
    pub fn published_keys(&self) -> Option<Arc<Verifier>> {
        self.identities.given.clone()
    }

    /// Whether this node gives tokens to who logs in.
    pub fn gives_tokens(&self) -> bool {
        self.identities.sign()
    }

    /// Who the token says somebody is.
    pub async fn identify(&self, token: &str) -> Result<Identity, NotAdmitted> {
        let verifier = match &self.identities.given {
            Some(given) => given.clone(),
            None => self.made_keys()?.verifier,
        };
        Ok(verifier.verify(token, self.clock().now()).await?)
    }

    /// The same for who does not come in, and is not told when the token is revoked later.
    pub async fn identify_once(&self, token: &str) -> Result<Identity, NotAdmitted> {
        let identity = self.identify(token).await?;
        if let Some(token) = &identity.id
            && self.backplane.is_revoked(token).await?
        {
            return Err(NotAdmitted::Void);
        }
        Ok(identity)
    }

    /// Signs a token; issuer and audience are the settings'.
    pub(super) fn sign(&self, mut claims: Claims) -> Result<String, NotAdmitted> {
        let secret = match &self.identities.secret {
            Some(given) => given.clone(),
            None => self.made_keys()?.secret,
        };
        claims.issuer.clone_from(&self.identities.issuer);
        claims.audience.clone_from(&self.identities.audience);
        auth::sign(&secret, &claims).map_err(|error| {
            tracing::error!(error, "a token was not signed");
            BadToken::Unavailable.into()
        })
    }

    fn made_keys(&self) -> Result<Made, NotAdmitted> {
        let secret = self.secret().ok_or(BadToken::Unavailable)?;
        self.identities.made_of(&secret).map_err(|error| {
            tracing::error!(error, "no keys were made of the nodes' secret");
            BadToken::Unavailable.into()
        })
    }
}
