//! `users/…` and its alias `me`.

use axum::body::Body;
use serde::Deserialize;
use weltenwind_core::{
    accounts::{AccountError, DisplayName},
    wire::{ProfileBody, UnreadBody, UserBody},
};

use crate::{
    answer::{self, Answer, With as _},
    context::Context,
    problem::{Stop, UnlessDenied as _},
};

/// `GET /api/v1/users/me`: the caller's own account.
pub(crate) async fn me(cx: Context) -> Answer {
    let account = cx.services.accounts.me(cx.actor()).await?;
    Ok(answer::ok(&UserBody::from(&account)).tagged(account.revision))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AmendMe {
    display_name: String,
}

impl AmendMe {
    fn name(self) -> Result<DisplayName, Stop> {
        Ok(DisplayName::new(&self.display_name)?)
    }
}

/// `PATCH /api/v1/users/me`: gives the caller another display name.
pub(crate) async fn amend_me(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    let name = cx.json(body).await.and_then(AmendMe::name).unless_denied(accounts.me(cx.actor())).await?;
    let account = accounts.rename(cx.actor(), &name).await?;
    Ok(answer::ok(&UserBody::from(&account)).tagged(account.revision))
}

/// `GET /api/v1/users/{id}`: what everybody sees of an account.
pub(crate) async fn profile(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccountError::NotFound)?;
    let account = cx.services.accounts.find(id).await?;
    Ok(answer::ok(&ProfileBody::from(&account)))
}

/// `GET /api/v1/users/me/unread`: the channels with something to read since the caller's marks.
pub(crate) async fn unread(cx: Context) -> Answer {
    let unread = cx.services.chat.unread(cx.actor()).await?;
    Ok(cx.list(unread.iter().map(UnreadBody::from), None))
}
