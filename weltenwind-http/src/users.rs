//! `users/…` and its alias `me`.

use axum::body::Body;
use futures_util::stream;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::{AccountError, DisplayName},
    chain,
    wire::{ExportBody, ListBody, ProfileBody, UnreadBody, UserBody},
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

/// Erases the own account, for good.
///
/// Everything that belongs to it goes at once: names, address, password, sessions and devices, roles, read marks, kept answers.
/// Its sockets close on every node within a second. What it wrote stays, under the name `Deleted account`. API keys that it made
/// stay too, since they are their world's.
///
/// Whoever has a password must have signed in within the last 15 minutes; a guest need not.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me",
    operation_id = "eraseMe",
    tag = "accounts",
    responses(
        (status = 204, description = "The account is no more."),
        (status = 403, description = "recent-sign-in-required"),
        (status = 409, description = "last-owner"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn erase_me(cx: Context) -> Answer {
    cx.services.privacy.erase_oneself(cx.actor()).await?;
    // A page's cookie is of no use any more, and is forgotten when it is next tried.
    Ok(answer::no_content())
}

/// Answers everything that is held on the own account, but for secrets and their hashes.
///
/// It is one document, which is written while it is sent: a long history takes its time. Its form has a version.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/export",
    operation_id = "exportMe",
    tag = "accounts",
    responses(
        (status = 200, description = "What is held.", body = ExportBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn export_me(cx: Context) -> Answer {
    let export = cx.services.privacy.export(cx.actor()).await?;
    let state = *export.state();
    let pieces = stream::try_unfold(export, async |mut export| match export.next().await {
        Ok(piece) => Ok(piece.map(|piece| (piece, export))),
        Err(error) => {
            tracing::error!(error = chain(&error), "an export broke off");
            Err(error)
        }
    });
    Ok(answer::streamed(&state, pieces))
}

/// Answers what everybody sees of an account.
///
/// That is its name of the moment; messages keep the one that was borne when they were written. Of an account that was erased
/// there is nothing to see: 404.
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
