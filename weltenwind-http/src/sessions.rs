//! `users/me/sessions`, and what replaces all of them: another password, and a guest who registers.

use axum::{body::Body, response::Response};
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::{AccountError, Email, Password, SessionGrant, Username},
    wire::{EndedBody, ListBody, SessionEntryBody},
};

use crate::{
    answer::{self, Answer},
    context::{Context, Nothing},
    cookies,
    problem::{Stop, UnlessDenied as _},
    query::Paging,
    reference::{Csrf, OfSession},
};

/// Lists the own sessions, youngest first.
///
/// One of them is the caller's; those that have ended or run out are left out.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/sessions",
    operation_id = "listSessions",
    tag = "accounts",
    params(Paging),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<SessionEntryBody>),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(cx: Context<Paging>) -> Answer {
    let account = cx.actor().oneself().map_err(AccountError::from)?.account;
    let list = format!("sessions?account={account}");
    let after = cx.query.cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let page = cx.services.accounts.sessions(cx.actor(), Some(account), after, cx.query.limit.0).await?;
    let next = page.next(|entry| cx.services.cursors.seal(&list, &entry.session.id));
    let own = cx.actor().session;
    Ok(cx.list(page.items.iter().map(|entry| SessionEntryBody::of(entry, own)), next))
}

/// Ends one of the own sessions, with its sockets.
///
/// It is over on every node within a second. Ending the own one is signing out.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/sessions/{id}",
    operation_id = "endSession",
    tag = "accounts",
    params(OfSession),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 404, description = "session-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn end(cx: Context) -> Answer {
    let accounts = &cx.services.accounts;
    let Some(id) = cx.param("id") else {
        return Err(cx.actor().oneself().map_or_else(AccountError::from, |_| AccountError::SessionNotFound).into());
    };
    accounts.end_session(cx.actor(), id).await?;
    Ok(answer::no_content())
}

/// Ends every own session but the one that asks.
///
/// Their sockets are closed on every node within a second.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/sessions/revoke-others",
    operation_id = "endOtherSessions",
    tag = "accounts",
    responses(
        (status = 200, description = "How many sessions were ended.", body = EndedBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn end_others(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    let Nothing {} = cx.json_or_default(body).await.unless_denied(accounts.me(cx.actor())).await?;
    let ended = accounts.end_other_sessions(cx.actor()).await?;
    Ok(answer::ok(&EndedBody { ended }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePassword {
    /// The present password.
    #[schema(format = Password)]
    current_password: String,
    /// The next one.
    #[schema(min_length = 10, max_length = 128, format = Password)]
    new_password: String,
}

impl ChangePassword {
    fn checked(self) -> Result<(String, Password), Stop> {
        Ok((self.current_password, Password::at("/newPassword", &self.new_password)?))
    }
}

/// Gives the own account another password.
///
/// Every session ends with its sockets, the one that asks too, and a new one is answered in its place. Passwords have 10 to 128
/// characters, of whatever kind; those that everybody tries first are refused.
#[utoipa::path(
    put,
    path = "/api/v1/users/me/password",
    operation_id = "changePassword",
    tag = "accounts",
    params(Csrf),
    request_body(content = ChangePassword, example = json!({ "currentPassword": "seven swans at dusk", "newPassword": "two ships in the fog" })),
    responses(
        (status = 200, description = "The session that is left.", body = weltenwind_core::wire::SessionBody),
        (status = 401, description = "unauthenticated, token-invalid, token-expired, session-ended, device-revoked, invalid-credentials"),
        (status = 403, description = "permission-denied, origin-not-allowed"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn change_password(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    // Who must sign in hears that first, wherever it asks from.
    cx.actor().oneself().map_err(AccountError::from)?;
    let carrier = cookies::carrier(&cx)?;
    let change = cx.json(body).await.and_then(ChangePassword::checked);
    let (current, new) = change.unless_denied(accounts.me(cx.actor())).await?;
    let grant = accounts.change_password(cx.actor(), &current, new).await?;
    Ok(replaced(&cx, carrier, grant))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Upgrade {
    /// The name to sign in with.
    #[schema(pattern = r"^[a-z0-9][a-z0-9_.-]{2,31}$")]
    username: String,
    /// The password.
    #[schema(min_length = 10, max_length = 128, format = Password)]
    password: String,
    /// Where mail reaches its owner.
    #[schema(format = "email", max_length = 254)]
    email: Option<String>,
}

impl Upgrade {
    fn checked(self) -> Result<(Username, Password, Option<Email>), Stop> {
        let email = self.email.as_deref().map(Email::new).transpose()?;
        Ok((Username::new(&self.username)?, Password::new(&self.password)?, email))
    }
}

/// Makes a registered account of a guest's.
///
/// It stays the same account, with its id, its name and its messages. Every session ends with its sockets, the one that asks
/// too, and a new one is answered in its place.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/upgrade",
    operation_id = "upgradeGuest",
    tag = "accounts",
    params(Csrf),
    request_body(content = Upgrade, example = json!({ "username": "mira", "password": "correct horse battery" })),
    responses(
        (status = 200, description = "The session that is left.", body = weltenwind_core::wire::SessionBody),
        (status = 403, description = "permission-denied, origin-not-allowed"),
        (status = 409, description = "already-registered, username-taken"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn upgrade(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    // Who must sign in hears that first, wherever it asks from.
    cx.actor().oneself().map_err(AccountError::from)?;
    let carrier = cookies::carrier(&cx)?;
    let upgrade = cx.json(body).await.and_then(Upgrade::checked);
    let (username, password, email) = upgrade.unless_denied(accounts.me(cx.actor())).await?;
    let grant = accounts.upgrade(cx.actor(), username, password, email).await?;
    Ok(replaced(&cx, carrier, grant))
}

/// Answers the session that took the place of all others; a browser finds it in its cookie.
fn replaced(cx: &Context, carrier: cookies::Carrier, grant: SessionGrant) -> Response {
    cookies::answered(cookies::session(cx, carrier, grant), None)
}
