//! `access/…`: roles given and taken, what one may do and why, and the keys of game servers.

use axum::body::Body;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use weltenwind_core::{
    AccountId, Principal, Scope,
    access::{
        AccessError, GrantDraft, GrantQuery, Permission, Role,
        keys::{ApiKeyDraft, ApiKeyName, ApiKeyQuery},
    },
    wire::{ApiKeyBody, CheckBody, GrantBody, ListBody, WireTime},
};

use crate::{
    answer::{self, Answer},
    context::{self, Context},
    problem::{Stop, UnlessDenied as _},
    query::LimitParam,
    reference::{OfGrant, OfKey},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListGrants {
    /// Only roles of this account.
    user_id: Option<AccountId>,
    /// Only roles held in exactly this scope. Without it one must manage the whole installation.
    scope: Option<Scope>,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

/// Lists who holds which role where.
///
/// Needs `access.manage` in the scope that is asked for. Roles that have ended are listed until they are taken.
#[utoipa::path(
    get,
    path = "/api/v1/access/grants",
    operation_id = "listGrants",
    tag = "access",
    params(ListGrants),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<GrantBody>),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list_grants(cx: Context<ListGrants>) -> Answer {
    let ListGrants { user_id, scope, cursor, limit } = &cx.query;
    let named = |value: Option<String>| value.unwrap_or_default();
    let list = format!(
        "access/grants?userId={}&scope={}",
        named(user_id.map(|id| id.to_string())),
        named(scope.map(|scope| scope.to_string()))
    );
    // Who may not see the list hears that, whatever place in it is asked for.
    may_manage(&cx, *scope).await?;
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let query = GrantQuery { account: *user_id, scope: *scope, after, limit: limit.0 };
    let page = cx.services.grants.list(cx.actor(), &query).await?;
    let next = page.next(|grant| cx.services.cursors.seal(&list, &grant.id));
    Ok(cx.list(page.items.iter().map(GrantBody::from), next))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GiveRole {
    /// Who gets the role.
    user_id: AccountId,
    /// The role.
    role: Role,
    /// Where it holds; of the role's kind.
    scope: Scope,
    /// When it ends by itself.
    expires_at: Option<WireTime>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

impl From<GiveRole> for GrantDraft {
    fn from(wish: GiveRole) -> Self {
        let GiveRole { user_id, role, scope, expires_at, reason } = wish;
        Self { account: user_id, role, scope, reason, expires_at: expires_at.map(|end| end.0) }
    }
}

/// Gives a role.
///
/// Needs `access.manage` in the scope, a rank above the role's, and everything that the role allows. Giving a role again moves
/// its end and answers the same grant. The last owner who stays for good gets no end.
#[utoipa::path(
    post,
    path = "/api/v1/access/grants",
    operation_id = "giveRole",
    tag = "access",
    request_body(content = GiveRole, example = json!({
        "userId": "01998b2e-7c00-7a11-8f3e-5d2a9c1b0e01",
        "role": "moderator",
        "scope": "global",
        "expiresAt": "2099-01-01T00:00:00.000Z",
        "reason": "for the tournament",
    })),
    responses(
        (status = 201, description = "The grant.", body = GrantBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "account-not-found"),
        (status = 409, description = "last-owner"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn give_role(cx: Context, body: Body) -> Answer {
    let wish = cx.tree(body).await?;
    // The scope says whom to ask, also where another member is wrong.
    let scope = wish.text("scope").and_then(|scope| scope.parse().ok());
    let wish: GiveRole = context::read(wish).unless_denied(may_manage(&cx, scope)).await?;
    let grant = cx.services.grants.give(cx.actor(), wish.into()).await?;
    Ok(answer::created(&format!("/api/v1/access/grants/{}", grant.id), &GrantBody::from(&grant)))
}

async fn may_manage<Q>(cx: &Context<Q>, scope: Option<Scope>) -> Result<(), Stop> {
    Ok(cx.services.grants.require_manage(cx.actor(), scope.unwrap_or(Scope::Global)).await?)
}

/// Answers a grant.
///
/// Needs `access.manage` in its scope; to others it does not exist.
#[utoipa::path(
    get,
    path = "/api/v1/access/grants/{id}",
    operation_id = "getGrant",
    tag = "access",
    params(OfGrant),
    responses(
        (status = 200, description = "The grant.", body = GrantBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "grant-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn find_grant(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccessError::GrantNotFound)?;
    let grant = cx.services.grants.find(cx.actor(), id).await?;
    Ok(answer::ok(&GrantBody::from(&grant)))
}

/// Takes a role.
///
/// Needs `access.manage` in its scope, and a rank above the role's. The last owner stays.
#[utoipa::path(
    delete,
    path = "/api/v1/access/grants/{id}",
    operation_id = "takeRole",
    tag = "access",
    params(OfGrant),
    responses(
        (status = 204, description = "The role is taken."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "grant-not-found"),
        (status = 409, description = "last-owner"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn take_role(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccessError::GrantNotFound)?;
    cx.services.grants.take(cx.actor(), id).await?;
    Ok(answer::no_content())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Check {
    /// What is asked about.
    permission: Permission,
    /// Where.
    scope: Scope,
    /// Of whom; of the caller if absent. Of somebody else it is told to whoever holds `access.manage` in the scope.
    user_id: Option<AccountId>,
}

/// Answers whether one may do something somewhere, and why.
///
/// It is decided anew from the store. About the caller it is decided for the very token or key that asks, about somebody else
/// for the account.
#[utoipa::path(
    get,
    path = "/api/v1/access/check",
    operation_id = "checkAccess",
    tag = "access",
    params(Check),
    responses(
        (status = 200, description = "The answer with everything that it rests on.", body = CheckBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "account-not-found, world-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn check(cx: Context<Check>) -> Answer {
    let Check { permission, scope, user_id } = cx.query;
    let services = &cx.services;
    let other = match user_id.filter(|id| cx.actor().account_id() != Some(*id)) {
        Some(id) => {
            services.grants.require_manage(cx.actor(), scope).await?;
            let account = services.accounts.find(id).await?;
            Some(Principal { account: id, kind: account.kind, display_name: account.display_name })
        }
        None => None,
    };
    let explanation = services.grants.explain(cx.actor(), permission, scope, other).await?;
    Ok(answer::ok(&CheckBody::from(&explanation)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListKeys {
    /// Only keys of exactly this scope. Without it one must manage the whole installation.
    scope: Option<Scope>,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

/// Lists API keys.
///
/// Needs `access.manage` in the scope that is asked for. Keys that have ended are listed until they are deleted.
#[utoipa::path(
    get,
    path = "/api/v1/access/keys",
    operation_id = "listKeys",
    tag = "access",
    params(ListKeys),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<ApiKeyBody>),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list_keys(cx: Context<ListKeys>) -> Answer {
    let ListKeys { scope, cursor, limit } = &cx.query;
    let list = format!("access/keys?scope={}", scope.map(|scope| scope.to_string()).unwrap_or_default());
    // Who may not see the list hears that, whatever place in it is asked for.
    may_manage(&cx, *scope).await?;
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let query = ApiKeyQuery { scope: *scope, after, limit: limit.0 };
    let page = cx.services.api_keys.list(cx.actor(), &query).await?;
    let next = page.next(|key| cx.services.cursors.seal(&list, &key.id));
    Ok(cx.list(page.items.iter().map(ApiKeyBody::from), next))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MakeKey {
    /// What it is for; the name under which it writes.
    #[schema(min_length = 1, max_length = 32)]
    name: String,
    /// What it reaches at most.
    scope: Scope,
    /// What it may do there; at least one, and nothing that the caller may not do there.
    permissions: Vec<Permission>,
    /// When it ends by itself.
    expires_at: Option<WireTime>,
}

impl MakeKey {
    fn draft(self) -> Result<ApiKeyDraft, Stop> {
        Ok(ApiKeyDraft {
            name: ApiKeyName::new(&self.name)?,
            scope: self.scope,
            permissions: self.permissions.into_iter().collect(),
            expires_at: self.expires_at.map(|end| end.0),
        })
    }
}

/// Makes an API key for a game server or bot.
///
/// Needs `access.manage` in the scope, and everything that is put on the list. The secret is shown in this answer and never again;
/// it is sent as `Authorization: Bearer wwk_…`. A key outlives the roles of whoever made it.
#[utoipa::path(
    post,
    path = "/api/v1/access/keys",
    operation_id = "makeKey",
    tag = "access",
    request_body(content = MakeKey, example = json!({
        "name": "arena server",
        "scope": "global",
        "permissions": ["chat.read", "chat.post"],
        "expiresAt": "2099-01-01T00:00:00.000Z",
    })),
    responses(
        (status = 201, description = "The key, with its secret.", body = ApiKeyBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn make_key(cx: Context, body: Body) -> Answer {
    let wish = cx.tree(body).await?;
    // The scope says whom to ask, also where another member is wrong.
    let scope = wish.text("scope").and_then(|scope| scope.parse().ok());
    let draft = context::read(wish).and_then(MakeKey::draft).unless_denied(may_manage(&cx, scope)).await?;
    let made = cx.services.api_keys.make(cx.actor(), draft).await?;
    Ok(answer::created(&format!("/api/v1/access/keys/{}", made.key.id), &ApiKeyBody::from(&made)))
}

/// Answers an API key, without its secret.
///
/// Needs `access.manage` in its scope; to others it does not exist.
#[utoipa::path(
    get,
    path = "/api/v1/access/keys/{id}",
    operation_id = "getKey",
    tag = "access",
    params(OfKey),
    responses(
        (status = 200, description = "The key.", body = ApiKeyBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "api-key-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn find_key(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccessError::KeyNotFound)?;
    let key = cx.services.api_keys.find(cx.actor(), id).await?;
    Ok(answer::ok(&ApiKeyBody::from(&key)))
}

/// Deletes an API key.
///
/// Needs `access.manage` in its scope. The key holds no longer: here at once, on other nodes within a second.
#[utoipa::path(
    delete,
    path = "/api/v1/access/keys/{id}",
    operation_id = "deleteKey",
    tag = "access",
    params(OfKey),
    responses(
        (status = 204, description = "The key is deleted."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "api-key-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn delete_key(cx: Context) -> Answer {
    let id = cx.param("id").ok_or(AccessError::KeyNotFound)?;
    cx.services.api_keys.delete(cx.actor(), id).await?;
    Ok(answer::no_content())
}
