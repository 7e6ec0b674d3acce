//! `auth/…` and `realtime/tickets`: sign-in, refresh, sign-out.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Deserialize;
use weltenwind_core::{
    Invalid, Secret,
    accounts::{AccountError, DeviceDraft, DisplayName, Email, Password, RegistrationDraft, SessionGrant, Username},
    wire::TicketBody,
};

use crate::{
    answer::{self, Answer},
    context::{Context, Nothing},
    cookies::{self, Carrier, Visit},
    problem::{Stop, UnlessDenied as _},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenGuest {
    display_name: Option<String>,
    device: Option<Device>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    name: Option<String>,
    fingerprint: Option<String>,
}

/// `POST /api/v1/auth/guest`: opens an account for somebody who gives a name, or nothing.
pub(crate) async fn guest(visit: Visit, body: Body) -> Answer {
    let OpenGuest { display_name, device } = visit.cx.json(body).await?;
    let display_name = display_name.as_deref().map(DisplayName::new).transpose()?;
    let device = Device::draft(device)?;
    let grant = visit.cx.services.accounts.open_guest(visit.cx.actor(), display_name, device).await?;
    Ok(made(&visit, grant))
}

impl Device {
    fn draft(device: Option<Self>) -> Result<DeviceDraft, Invalid> {
        match device {
            Some(Self { name, fingerprint }) => DeviceDraft::new(name.as_deref(), fingerprint.as_deref()),
            None => Ok(DeviceDraft::default()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Register {
    username: String,
    password: String,
    display_name: Option<String>,
    email: Option<String>,
    device: Option<Device>,
}

/// `POST /api/v1/auth/register`: makes a registered account.
pub(crate) async fn register(visit: Visit, body: Body) -> Answer {
    let Register { username, password, display_name, email, device } = visit.cx.json(body).await?;
    let draft = RegistrationDraft {
        username: Username::new(&username)?,
        password: Password::new(&password)?,
        display_name: display_name.as_deref().map(DisplayName::new).transpose()?,
        email: email.as_deref().map(Email::new).transpose()?,
        device: Device::draft(device)?,
    };
    let grant = visit.cx.services.accounts.register(visit.cx.actor(), draft).await?;
    Ok(made(&visit, grant))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
    device: Option<Device>,
}

/// `POST /api/v1/auth/login`: signs in with username and password.
pub(crate) async fn login(visit: Visit, body: Body) -> Answer {
    let Login { username, password, device } = visit.cx.json(body).await?;
    let device = Device::draft(device)?;
    let grant = visit.cx.services.accounts.sign_in(visit.cx.actor(), &username, &password, device).await?;
    Ok(cookies::answered(visit.session(grant), None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bootstrap {
    token: String,
    username: String,
    password: String,
}

/// `POST /api/v1/auth/bootstrap`: makes the holder of a one-time token a global owner.
pub(crate) async fn bootstrap(visit: Visit, body: Body) -> Answer {
    let Bootstrap { token, username, password } = visit.cx.json(body).await?;
    let (username, password) = (Username::new(&username)?, Password::new(&password)?);
    let grant = visit.cx.services.accounts.bootstrap(visit.cx.actor(), &token, username, password).await?;
    Ok(made(&visit, grant))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    refresh_token: Option<String>,
}

/// `POST /api/v1/auth/refresh`: trades a refresh token for a fresh session answer.
///
/// A native client sends the token in the body, a browser in its cookie together with the header that only own scripts send.
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

/// `POST /api/v1/auth/logout`: ends the session of the access token, or that of the cookie, and forgets the cookie.
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

/// `POST /api/v1/realtime/tickets`: issues a ticket with which a page of an allowed origin opens one socket.
pub(crate) async fn ticket(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    accounts.me(cx.actor()).await?;
    let Nothing {} = cx.json_or_default(body).await?;
    let (ticket, life) = accounts.issue_ticket(cx.actor(), cookies::require_origin(&cx)?).await?;
    let body = TicketBody { ticket: ticket.expose().clone(), expires_in: life.as_secs() };
    Ok(answer::json(StatusCode::CREATED, &body))
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
