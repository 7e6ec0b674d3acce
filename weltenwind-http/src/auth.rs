//! `auth/…` and `realtime/tickets`: sign-in, refresh, sign-out.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    Invalid, Secret,
    accounts::{
        AccountError, DeviceDraft, DisplayName, Email, Password, RegistrationDraft, SessionGrant, SignIn, Username,
    },
    wire::{SessionBody, TicketBody},
};

use crate::{
    answer::{self, Answer},
    context::{Context, Nothing},
    cookies::{self, Carrier, Visit},
    json::present,
    problem::{Stop, UnlessDenied as _},
    reference::{Csrf, Origin},
};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenGuest {
    /// The name that others see.
    #[schema(min_length = 1, max_length = 32)]
    display_name: Option<String>,
    /// The device that is signed in from.
    device: Option<SignInDevice>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInDevice {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// A value by which the device is known again; kept as a keyed hash.
    #[schema(min_length = 8, max_length = 256)]
    fingerprint: Option<String>,
}

/// Opens an account for a guest.
///
/// It has the name that was given, or one that is made up. A guest becomes known again by its refresh token alone.
#[utoipa::path(
    post,
    path = "/api/v1/auth/guest",
    operation_id = "openGuest",
    tag = "sign-in",
    params(Csrf),
    request_body(content = OpenGuest, example = json!({ "displayName": "Mira", "device": { "name": "Firefox on Linux" } })),
    responses(
        (status = 201, description = "The session of the new account.", body = SessionBody),
        (status = 403, description = "origin-not-allowed"),
    ),
    security(())
)]
pub(crate) async fn guest(visit: Visit, body: Body) -> Answer {
    let OpenGuest { display_name, device } = visit.cx.json(body).await?;
    let display_name = display_name.as_deref().map(DisplayName::new).transpose()?;
    let device = SignInDevice::draft(device)?;
    let grant = visit.cx.services.accounts.open_guest(visit.cx.actor(), display_name, device).await?;
    Ok(made(&visit, grant))
}

impl SignInDevice {
    fn draft(device: Option<Self>) -> Result<DeviceDraft, Invalid> {
        match device {
            Some(Self { name, fingerprint }) => DeviceDraft::new(name.as_deref(), fingerprint.as_deref()),
            None => Ok(DeviceDraft::default()),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Register {
    /// The name to sign in with.
    #[schema(pattern = r"^[a-z0-9][a-z0-9_.-]{2,31}$")]
    username: String,
    /// The password.
    #[schema(min_length = 10, max_length = 128, format = Password)]
    password: String,
    /// The name that others see; the username if absent.
    #[schema(min_length = 1, max_length = 32)]
    display_name: Option<String>,
    /// Where mail reaches its owner.
    #[schema(format = "email", max_length = 254)]
    email: Option<String>,
    /// The device that is signed in from.
    device: Option<SignInDevice>,
}

/// Makes a registered account.
///
/// Passwords have 10 to 128 characters, of whatever kind; those that everybody tries first are refused.
#[utoipa::path(
    post,
    path = "/api/v1/auth/register",
    operation_id = "register",
    tag = "sign-in",
    params(Csrf),
    request_body(content = Register, example = json!({ "username": "mira", "password": "correct horse battery", "displayName": "Mira" })),
    responses(
        (status = 201, description = "The session of the new account.", body = SessionBody),
        (status = 403, description = "origin-not-allowed"),
        (status = 409, description = "username-taken"),
    ),
    security(())
)]
pub(crate) async fn register(visit: Visit, body: Body) -> Answer {
    let Register { username, password, display_name, email, device } = visit.cx.json(body).await?;
    let draft = RegistrationDraft {
        username: Username::new(&username)?,
        password: Password::new(&password)?,
        display_name: display_name.as_deref().map(DisplayName::new).transpose()?,
        email: email.as_deref().map(Email::new).transpose()?,
        device: SignInDevice::draft(device)?,
    };
    let grant = visit.cx.services.accounts.register(visit.cx.actor(), draft).await?;
    Ok(made(&visit, grant))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// The name to sign in with.
    username: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
    /// The code that the authenticator shows, or a recovery code: where the account has a second factor.
    totp: Option<String>,
    /// The device that is signed in from.
    device: Option<SignInDevice>,
}

/// Signs in with username and password.
///
/// Which of the two is wrong is not told. Where both are right and the account has a second factor, `two-factor-required` asks
/// for the same sign-in with a code. A sign-in without a known fingerprint makes a new device.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    operation_id = "signIn",
    tag = "sign-in",
    params(Csrf),
    request_body(content = Login, example = json!({ "username": "mira", "password": "correct horse battery" })),
    responses(
        (status = 200, description = "The session.", body = SessionBody),
        (status = 401, description = "invalid-credentials, two-factor-required, two-factor-code-invalid"),
        (status = 403, description = "origin-not-allowed"),
    ),
    security(())
)]
pub(crate) async fn login(visit: Visit, body: Body) -> Answer {
    let Login { username, password, totp, device } = visit.cx.json(body).await?;
    let device = SignInDevice::draft(device)?;
    let (password, code) = (Secret::new(password), totp.map(Secret::new));
    let sign_in = SignIn { username, password, code, device };
    let grant = visit.cx.services.accounts.sign_in(visit.cx.actor(), sign_in).await?;
    Ok(cookies::answered(visit.session(grant), None))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Bootstrap {
    /// The one-time token.
    token: String,
    /// The name to sign in with.
    #[schema(pattern = r"^[a-z0-9][a-z0-9_.-]{2,31}$")]
    username: String,
    /// The password.
    #[schema(min_length = 10, max_length = 128, format = Password)]
    password: String,
}

/// Makes the holder of a one-time token a global owner.
///
/// `weltenwind admin bootstrap` prints the token. It holds for 15 minutes.
#[utoipa::path(
    post,
    path = "/api/v1/auth/bootstrap",
    operation_id = "bootstrap",
    tag = "sign-in",
    params(Csrf),
    request_body(content = Bootstrap, example = json!({ "token": "wwb_2Zp0…", "username": "keeper", "password": "correct horse battery" })),
    responses(
        (status = 201, description = "The owner's session.", body = SessionBody),
        (status = 401, description = "bootstrap-token-invalid"),
        (status = 403, description = "origin-not-allowed"),
        (status = 409, description = "username-taken"),
        (status = 410, description = "bootstrap-token-spent"),
    ),
    security(())
)]
pub(crate) async fn bootstrap(visit: Visit, body: Body) -> Answer {
    let Bootstrap { token, username, password } = visit.cx.json(body).await?;
    let (username, password) = (Username::new(&username)?, Password::new(&password)?);
    let grant = visit.cx.services.accounts.bootstrap(visit.cx.actor(), &token, username, password).await?;
    Ok(made(&visit, grant))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    /// The refresh token; absent where a cookie carries it.
    #[schema(value_type = String, required = false)]
    #[serde(default, deserialize_with = "present")]
    refresh_token: Option<String>,
}

/// Trades a refresh token for a fresh session answer.
///
/// A native client sends the token in the body; a browser has it in its cookie, and sends the header that only own scripts send.
/// Each token is traded once: a repeat within 10 seconds, or before the successor was used, answers the same successor; any
/// other ends the session.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    operation_id = "refreshSession",
    tag = "sign-in",
    params(Csrf),
    request_body(content = Refresh, example = json!({ "refreshToken": "wwr_9Qe1…" })),
    responses(
        (status = 200, description = "The session, with the next tokens.", body = SessionBody),
        (status = 401, description = "refresh-token-invalid, refresh-token-reused"),
        (status = 403, description = "origin-not-allowed, csrf-header-required"),
    ),
    security((), ("refreshCookie" = []))
)]
pub(crate) async fn refresh(visit: Visit, body: Body) -> Answer {
    let Refresh { refresh_token } = visit.cx.json(body).await?;
    let cookie = cookies::refresh_token(&visit.cx);
    let token = match (refresh_token, visit.carrier) {
        (Some(token), _) => Secret::new(token),
        (None, Carrier::Cookie) => match cookie {
            Some(token) => token,
            None => return Ok(forgotten(&visit, AccountError::RefreshTokenInvalid)),
        },
        (None, Carrier::Body) if cookie.is_some() => return Err(cookies::csrf_required()),
        (None, Carrier::Body) => return Err(Invalid::at("/refreshToken", "refreshToken is required").into()),
    };
    match visit.cx.services.accounts.refresh(visit.cx.actor(), token.expose()).await {
        Ok(grant) => Ok(cookies::answered(visit.session(grant), None)),
        Err(error) => Ok(forgotten(&visit, error)),
    }
}

/// Ends a session and its sockets.
///
/// It is the session of the access token or, for a page whose token has run out, that of the cookie, which is forgotten.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    operation_id = "signOut",
    tag = "sign-in",
    params(Csrf),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 401, description = "unauthenticated, token-invalid, token-expired, session-ended, refresh-token-invalid, refresh-token-reused"),
        (status = 403, description = "origin-not-allowed, csrf-header-required"),
    ),
    security(("bearer" = []), ("refreshCookie" = []))
)]
pub(crate) async fn logout(cx: Context, body: Body) -> Answer {
    let carrier = cookies::carrier(&cx)?;
    let Nothing {} = cx.json_or_default(body).await.unless_denied(cx.services.accounts.me(cx.actor())).await?;
    let ended = match (cx.actor().session, cookies::refresh_token(&cx), carrier) {
        (None, Some(token), Carrier::Cookie) => end_by_cookie(&cx, &token).await,
        (None, Some(_), Carrier::Body) => return Err(cookies::csrf_required()),
        _ => cx.services.accounts.sign_out(cx.actor()).await,
    };
    let response = ended.map_err(Stop::from).map_or_else(Stop::into_response, |()| answer::no_content());
    // Whatever became of the session: this browser shall not come back to it.
    Ok(if carrier == Carrier::Cookie { cookies::cleared(&cx.app, response) } else { response })
}

/// Ends the session of a refresh token: a page that was asleep for longer than its access token lived has nothing else.
async fn end_by_cookie(cx: &Context, token: &Secret<String>) -> Result<(), AccountError> {
    let accounts = &cx.services.accounts;
    let grant = accounts.refresh(cx.actor(), token.expose()).await?;
    let actor = accounts.actor_of_session(grant.session, cx.actor().correlation_id.clone()).await?;
    accounts.sign_out(&actor).await
}

/// Issues a ticket with which a page opens one socket.
///
/// It is bound to the session and to the origin of the page, and is spent by its first use.
#[utoipa::path(
    post,
    path = "/api/v1/realtime/tickets",
    operation_id = "issueTicket",
    tag = "realtime",
    params(Origin),
    responses(
        (status = 201, description = "The ticket.", body = TicketBody),
        (status = 403, description = "origin-not-allowed"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn ticket(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    accounts.me(cx.actor()).await?;
    let Nothing {} = cx.json_or_default(body).await?;
    let (ticket, life) = accounts.issue_ticket(cx.actor(), cookies::require_origin(&cx)?).await?;
    let body = TicketBody { ticket: ticket.expose().clone(), expires_in: life.as_secs() };
    Ok(answer::json(StatusCode::CREATED, answer::bytes(&body)))
}

/// Answers a session of an account that was just made.
fn made(visit: &Visit, grant: SessionGrant) -> Response {
    let location = format!("/api/v1/users/{}", grant.account.id);
    cookies::answered(visit.session(grant), Some(&location))
}

/// Refuses a refresh; a cookie that does not hold is taken back.
fn forgotten(visit: &Visit, error: AccountError) -> Response {
    let stop = Stop::from(error);
    let is_over = matches!(&stop, Stop::Problem(problem) if problem.status() == 401);
    let response = stop.into_response();
    if is_over && visit.carrier == Carrier::Cookie { cookies::cleared(&visit.cx.app, response) } else { response }
}
