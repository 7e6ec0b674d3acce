//! Access tokens: signed here, checked without the store.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, errors::ErrorKind,
};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    error::AccountError,
    keys::{ServerKeys, SigningKey},
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, DeviceId, SessionId},
    scope::Scope,
    secret::Secret,
};

/// The `typ` of an access token (RFC 9068).
const TYPE: &str = "at+jwt";
/// Longer tokens are refused unread.
const MAX_BYTES: usize = 8 * 1024;
/// Tokens that are remembered as verified; some 200 bytes each.
const REMEMBERED: u64 = 50_000;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The account.
    pub account: AccountId,
    /// The session.
    pub session: SessionId,
    /// The device.
    pub device: DeviceId,
    /// What it may reach at most.
    pub scope: Scope,
    /// When it ends.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: AccountId,
    sid: SessionId,
    did: DeviceId,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    scope: Scope,
}

/// Signs and verifies access tokens with the installation's keys, of which others may come while it runs.
pub struct TokenIssuer {
    issuer: String,
    /// Youngest first, never empty.
    keys: RwLock<Arc<[LiveKey]>>,
    validation: Validation,
    verified: Cache<[u8; 32], Verified>,
}

struct LiveKey {
    id: Arc<str>,
    signs_from: Timestamp,
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// A token that was verified before, and the key that it was signed with.
#[derive(Clone)]
struct Verified {
    token: AccessToken,
    key: Arc<str>,
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        let keys: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
        f.debug_struct("TokenIssuer").field("issuer", &self.issuer).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Seconds by which the clocks of nodes may differ.
const LEEWAY: i64 = 30;

impl TokenIssuer {
    /// Issues for `issuer`, which is audience too: tokens of another installation do not hold here.
    pub fn new(issuer: &str, keys: &ServerKeys) -> Result<Self, StorageError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared with the injected clock below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            issuer: issuer.to_owned(),
            keys: RwLock::new(live(&keys.signing)?),
            validation,
            verified: Cache::new(REMEMBERED),
        })
    }

    /// Goes on with these keys instead; a token under a key that is not among them holds no longer.
    pub(super) fn replace(&self, signing: &[SigningKey]) -> Result<(), StorageError> {
        let keys = live(signing)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<[LiveKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a token that does not hold names a key that is not known here: another node may have made it.
    pub(super) fn names_unknown_key(&self, text: &str) -> bool {
        if text.len() > MAX_BYTES {
            return false;
        }
        decode_header(text).is_ok_and(|header| {
            header.typ.as_deref() == Some(TYPE)
                && header.alg == Algorithm::EdDSA
                && header.kid.is_some_and(|kid| self.keys().iter().all(|key| *key.id != *kid))
        })
    }

    /// Makes a fresh signing key.
    pub(crate) fn generate_key(id: &str, at: Timestamp) -> Result<SigningKey, StorageError> {
        let made = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
        let document = made.map_err(|_| StorageError::permanent("make a signing key", "the random source failed"))?;
        Ok(SigningKey { id: id.to_owned(), pkcs8: Secret::new(document.as_ref().to_vec()), created_at: at })
    }

    /// Signs a token with the youngest key that every node knows by now.
    pub fn issue(&self, token: &AccessToken, id: uuid::Uuid, at: Timestamp) -> Result<Secret<String>, StorageError> {
        let keys = self.keys();
        let key =
            keys.iter().find(|key| key.signs_from <= at).or(keys.last()).expect("an installation has a signing key");
        let (typ, kid) = (Some(TYPE.to_owned()), Some(key.id.to_string()));
        let header = Header { typ, kid, ..Header::new(Algorithm::EdDSA) };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: token.account,
            sid: token.session,
            did: token.device,
            jti: id.to_string(),
            iat: at.as_second(),
            nbf: at.as_second(),
            exp: token.expires_at.as_second(),
            scope: token.scope,
        };
        let text = encode(&header, &claims, &key.signing)
            .map_err(|error| StorageError::permanent("sign an access token", error))?;
        // What was just signed need not be verified: whoever signs in here comes back here, as a rule.
        let expires_at = Timestamp::from_second(claims.exp).unwrap_or(token.expires_at);
        let known = Verified { token: AccessToken { expires_at, ..*token }, key: Arc::clone(&key.id) };
        self.verified.insert(Sha256::digest(text.as_bytes()).into(), known);
        Ok(Secret::new(text))
    }

    /// Verifies a token. One that was verified before is known by its hash until it ends.
    ///
    /// # Errors
    ///
    /// [`AccountError::TokenInvalid`], [`AccountError::TokenExpired`].
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<AccessToken, AccountError> {
        if text.len() > MAX_BYTES {
            return Err(AccountError::TokenInvalid);
        }
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let known = self.verified.get(&hash).filter(|known| self.keys().iter().any(|key| key.id == known.key));
        let token = if let Some(Verified { token, .. }) = known {
            token
        } else {
            let verified = self.read(text, now)?;
            self.verified.insert(hash, verified.clone());
            verified.token
        };
        if now.as_second() >= token.expires_at.as_second() + LEEWAY {
            self.verified.invalidate(&hash);
            return Err(AccountError::TokenExpired);
        }
        Ok(token)
    }

    fn read(&self, text: &str, now: Timestamp) -> Result<Verified, AccountError> {
        let header = decode_header(text).map_err(|_| AccountError::TokenInvalid)?;
        if header.typ.as_deref() != Some(TYPE) || names_a_foreign_key(text) {
            return Err(AccountError::TokenInvalid);
        }
        let keys = self.keys();
        let named = |key: &&LiveKey| header.kid.as_deref() == Some(&*key.id);
        let key = keys.iter().find(named).ok_or(AccountError::TokenInvalid)?;
        let claims = decode::<Claims>(text, &key.verifying, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => AccountError::TokenExpired,
                _ => AccountError::TokenInvalid,
            })?
            .claims;
        if now.as_second() + LEEWAY < claims.nbf {
            return Err(AccountError::TokenInvalid);
        }
        let token = AccessToken {
            account: claims.sub,
            session: claims.sid,
            device: claims.did,
            scope: claims.scope,
            expires_at: Timestamp::from_second(claims.exp).map_err(|_| AccountError::TokenInvalid)?,
        };
        Ok(Verified { token, key: Arc::clone(&key.id) })
    }
}

/// Returns whether the header tries to bring its own key, or demands something that is not understood.
fn names_a_foreign_key(text: &str) -> bool {
    let header = text.split('.').next().unwrap_or_default();
    let Ok(bytes) = Base64UrlUnpadded::decode_vec(header) else {
        return true;
    };
    let Ok(header) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) else {
        return true;
    };
    ["jku", "jwk", "x5u", "x5c", "crit"].iter().any(|name| header.contains_key(*name))
}

fn live(signing: &[SigningKey]) -> Result<Arc<[LiveKey]>, StorageError> {
    if signing.is_empty() {
        return Err(StorageError::permanent("find a key to sign with", "the installation has no signing key"));
    }
    let live = |key: &SigningKey| {
        Ok(LiveKey {
            id: key.id.as_str().into(),
            signs_from: key.signs_from(),
            signing: EncodingKey::from_ed_der(key.pkcs8.expose()),
            verifying: DecodingKey::from_ed_der(pair(key)?.public_key().as_ref()),
        })
    };
    signing.iter().map(live).collect()
}

fn pair(key: &SigningKey) -> Result<Ed25519KeyPair, StorageError> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.pkcs8.expose())
        .map_err(|error| StorageError::permanent("read a signing key", error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        ids::{IdGenerator as _, SequentialIds},
    };

    fn keys() -> ServerKeys {
        let key = TokenIssuer::generate_key("k1", ManualClock::default().now()).unwrap();
        ServerKeys { signing: vec![key], roots: Vec::new() }
    }

    fn token(now: Timestamp) -> AccessToken {
        let ids = SequentialIds::default();
        AccessToken {
            account: AccountId::new(ids.draw()),
            session: SessionId::new(ids.draw()),
            device: DeviceId::new(ids.draw()),
            scope: Scope::Global,
            expires_at: now + jiff::SignedDuration::from_mins(5),
        }
    }

    fn forged(header: &str, claims: &str) -> String {
        let part = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    #[test]
    fn a_token_says_what_was_signed_until_its_time_is_over() {
        let clock = ManualClock::default();
        let issuer = TokenIssuer::new("http://wind.test", &keys()).unwrap();
        let token = token(clock.now());
        let text = issuer.issue(&token, uuid::Uuid::nil(), clock.now()).unwrap();

        assert_eq!(issuer.verify(text.expose(), clock.now()).unwrap(), token);
        clock.advance(Duration::from_secs(5 * 60 + 29));
        assert!(issuer.verify(text.expose(), clock.now()).is_ok(), "clocks may differ by half a minute");
        clock.advance(Duration::from_secs(1));
        assert!(matches!(issuer.verify(text.expose(), clock.now()), Err(AccountError::TokenExpired)));
    }

    #[test]
    fn a_new_key_signs_once_every_node_knows_it_and_the_old_one_verifies_until_it_is_dropped() {
        let clock = ManualClock::default();
        let old = keys().signing.remove(0);
        let issuer =
            TokenIssuer::new("http://wind.test", &ServerKeys { signing: vec![old.clone()], roots: Vec::new() });
        let issuer = issuer.unwrap();
        let kid = |text: &Secret<String>| decode_header(text.expose()).unwrap().kid.unwrap();
        let issue = || issuer.issue(&token(clock.now()), uuid::Uuid::nil(), clock.now()).unwrap();
        let before = issue();
        clock.advance(Duration::from_secs(1));
        let young = TokenIssuer::generate_key("k2", clock.now()).unwrap();

        issuer.replace(&[young.clone(), old]).unwrap();
        let announced = issue();
        clock.advance(crate::accounts::RootKey::SETTLING);
        let after = issue();

        assert_eq!([kid(&before), kid(&announced), kid(&after)], ["k1", "k1", "k2"]);
        for text in [&before, &announced, &after] {
            assert!(issuer.verify(text.expose(), clock.now()).is_ok());
        }
        issuer.replace(&[young]).unwrap();
        for (text, holds) in [(&before, false), (&announced, false), (&after, true)] {
            assert_eq!(issuer.verify(text.expose(), clock.now()).is_ok(), holds, "remembered or not");
            assert_eq!(issuer.names_unknown_key(text.expose()), !holds);
        }
    }

    #[test]
    fn a_token_of_another_installation_does_not_hold() {
        let now = ManualClock::default().now();
        let keys = keys();
        let here = TokenIssuer::new("http://wind.test", &keys).unwrap();
        let audience = TokenIssuer::new("http://other.test", &keys).unwrap();
        let key = TokenIssuer::new("http://wind.test", &self::keys()).unwrap();

        for other in [audience, key] {
            let text = other.issue(&token(now), uuid::Uuid::nil(), now).unwrap();
            assert!(matches!(here.verify(text.expose(), now), Err(AccountError::TokenInvalid)));
        }
    }

    #[test]
    fn forged_tokens_do_not_hold() {
        let now = ManualClock::default().now();
        let issuer = TokenIssuer::new("http://wind.test", &keys()).unwrap();
        let genuine = issuer.issue(&token(now), uuid::Uuid::nil(), now).unwrap();
        let claims = genuine.expose().split('.').nth(1).unwrap();
        let claims = String::from_utf8(Base64UrlUnpadded::decode_vec(claims).unwrap()).unwrap();

        for header in [
            r#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#,
            r#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k2"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1","jku":"https://elsewhere.test/keys"}"#,
        ] {
            assert!(
                matches!(issuer.verify(&forged(header, &claims), now), Err(AccountError::TokenInvalid)),
                "{header}"
            );
        }
        for text in ["", "a.b", "a.b.c", "....", &"x".repeat(MAX_BYTES + 1)] {
            assert!(matches!(issuer.verify(text, now), Err(AccountError::TokenInvalid)));
        }
    }

    #[test]
    fn a_genuine_signature_does_not_save_a_header_that_brings_its_own_key() {
        let now = ManualClock::default().now();
        let keys = keys();
        let issuer = TokenIssuer::new("http://wind.test", &keys).unwrap();
        let genuine = issuer.issue(&token(now), uuid::Uuid::nil(), now).unwrap();
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode(genuine.expose()).unwrap().claims;
        let header = Header {
            typ: Some(TYPE.to_owned()),
            kid: Some("k1".to_owned()),
            jku: Some("https://elsewhere.test/keys".to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };

        let text = encode(&header, &claims, &EncodingKey::from_ed_der(keys.signing[0].pkcs8.expose())).unwrap();

        assert!(matches!(issuer.verify(&text, now), Err(AccountError::TokenInvalid)));
    }
}
