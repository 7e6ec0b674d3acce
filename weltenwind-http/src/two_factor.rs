//! `users/me/two-factor`: a code beside the password.

use axum::body::Body;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::AccountError,
    wire::{SessionBody, TwoFactorBody, TwoFactorConfirmedBody},
};

use crate::{
    answer::{self, Answer},
    context::{Context, Nothing},
    cookies,
    problem::UnlessDenied as _,
    reference::Csrf,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShowCode {
    /// The six digits that the authenticator shows, or a recovery code where one may stand in for it.
    code: String,
}

/// Begins to protect the own account with an authenticator.
///
/// It answers a secret for the authenticator, as a text and as an address for a picture. Nothing is asked for at sign-in until
/// the first code is confirmed; until then every call makes another secret. Codes are those of RFC 6238: SHA-1, six digits,
/// 30 seconds.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/two-factor",
    operation_id = "beginTwoFactor",
    tag = "accounts",
    responses(
        (status = 200, description = "What the authenticator is to know.", body = TwoFactorBody),
        (status = 403, description = "permission-denied, account-required, registration-required"),
        (status = 409, description = "two-factor-enabled"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn begin(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    let Nothing {} = cx.json_or_default(body).await.unless_denied(accounts.me(cx.actor())).await?;
    let enrolment = accounts.begin_two_factor(cx.actor()).await?;
    Ok(answer::ok(&TwoFactorBody::from(&enrolment)))
}

/// Enables the second factor with the authenticator's first code.
///
/// From then on signing in asks for a code. Ten recovery codes are answered, each of which stands in for the authenticator once;
/// they are told this once. Every session ends with its sockets, the one that asks too, and a new one is answered in its place.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/two-factor/confirm",
    operation_id = "confirmTwoFactor",
    tag = "accounts",
    params(Csrf),
    request_body(content = ShowCode, example = json!({ "code": "287082" })),
    responses(
        (status = 200, description = "The recovery codes, and the session that is left.", body = TwoFactorConfirmedBody),
        (status = 401, description = "unauthenticated, token-invalid, token-expired, session-ended, device-revoked, two-factor-code-invalid"),
        (status = 403, description = "permission-denied, account-required, registration-required, origin-not-allowed"),
        (status = 409, description = "two-factor-enabled, two-factor-not-enabled"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn confirm(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    // Who must sign in hears that first, wherever it asks from.
    cx.actor().oneself().map_err(AccountError::from)?;
    let carrier = cookies::carrier(&cx)?;
    let ShowCode { code } = cx.json(body).await.unless_denied(accounts.me(cx.actor())).await?;
    let (codes, grant) = accounts.confirm_two_factor(cx.actor(), &code).await?;
    let (session, cookie) = cookies::session(&cx, carrier, grant);
    let recovery_codes = codes.iter().map(|code| code.expose().clone()).collect();
    Ok(cookies::answered((TwoFactorConfirmedBody { recovery_codes, session }, cookie), None))
}

/// Gives the second factor up, for one of its codes or a recovery code.
///
/// Signing in asks for the password alone again. Every session ends with its sockets, the one that asks too, and a new one is
/// answered in its place.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/two-factor",
    operation_id = "disableTwoFactor",
    tag = "accounts",
    params(Csrf),
    request_body(content = ShowCode, example = json!({ "code": "287082" })),
    responses(
        (status = 200, description = "The session that is left.", body = SessionBody),
        (status = 401, description = "unauthenticated, token-invalid, token-expired, session-ended, device-revoked, two-factor-code-invalid"),
        (status = 403, description = "permission-denied, account-required, registration-required, origin-not-allowed"),
        (status = 409, description = "two-factor-not-enabled"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn disable(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    cx.actor().oneself().map_err(AccountError::from)?;
    let carrier = cookies::carrier(&cx)?;
    let ShowCode { code } = cx.json(body).await.unless_denied(accounts.me(cx.actor())).await?;
    let grant = accounts.disable_two_factor(cx.actor(), &code).await?;
    Ok(cookies::answered(cookies::session(&cx, carrier, grant), None))
}
