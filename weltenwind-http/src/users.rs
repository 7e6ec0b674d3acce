//! `users/…` and its alias `me`.

use axum::body::Body;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::{AccountError, DisplayName},
    wire::{ListBody, ProfileBody, UnreadBody, UserBody},
};

use crate::{
    answer::{self, Answer, With as _},
    context::Context,
    problem::{Stop, UnlessDenied as _},
    reference::OfAccount,
};

/// Answers the own account.
///
/// Nobody else sees its username and address.
#[utoipa::path(
    get,
    path = "/api/v1/users/me",
    operation_id = "getMe",
    tag = "accounts",
    responses(
        (status = 200, description = "The account.", body = UserBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn me(cx: Context) -> Answer {
    let account = cx.services.accounts.me(cx.actor()).await?;
    Ok(answer::ok(&UserBody::from(&account)).tagged(account.revision))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AmendMe {
    /// The name that others see.
    #[schema(min_length = 1, max_length = 32)]
    display_name: String,
}

impl AmendMe {
    fn name(self) -> Result<DisplayName, Stop> {
        Ok(DisplayName::new(&self.display_name)?)
    }
}

/// Gives the own account another display name.
///
/// Messages keep the name that was borne when they were written.
#[utoipa::path(
    patch,
    path = "/api/v1/users/me",
    operation_id = "amendMe",
    tag = "accounts",
    request_body(content = AmendMe, example = json!({ "displayName": "Mira of the West" })),
    responses(
        (status = 200, description = "The account as it is now.", body = UserBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn amend_me(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    let name = cx.json(body).await.and_then(AmendMe::name).unless_denied(accounts.me(cx.actor())).await?;
    let account = accounts.rename(cx.actor(), &name).await?;
    Ok(answer::ok(&UserBody::from(&account)).tagged(account.revision))
}

/// Answers what everybody sees of an account.
///
/// That is its name of the moment; messages keep the one that was borne when they were written.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    operation_id = "getProfile",
    tag = "accounts",
    params(OfAccount),
    responses(
        (status = 200, description = "The profile.", body = ProfileBody),
        (status = 404, description = "account-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn profile(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccountError::NotFound)?;
    let account = cx.services.accounts.find(id).await?;
    Ok(answer::ok(&ProfileBody::from(&account)))
}

/// Lists the channels with something to read since the own marks.
///
/// Channels that were never marked are left out.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/unread",
    operation_id = "listUnread",
    tag = "accounts",
    responses(
        (status = 200, description = "The channels, all at once.", body = ListBody<UnreadBody>),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn unread(cx: Context) -> Answer {
    let unread = cx.services.chat.unread(cx.actor()).await?;
    Ok(cx.list(unread.iter().map(UnreadBody::from), None))
}
