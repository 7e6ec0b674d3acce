//! `worlds/…`: worlds and who belongs to them.

use axum::body::Body;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use weltenwind_core::{
    access::AccessError,
    wire::{ListBody, MemberBody, WorldBody},
    worlds::{
        Description, JoinPolicy, Slug, Visibility, WorldAmendment, WorldDraft, WorldError, WorldName, WorldQuery,
        WorldRef, WorldSort,
    },
};

use crate::{
    answer::{self, Answer, With as _},
    context::{Context, Nothing},
    json::present,
    problem::{Stop, UnlessDenied as _},
    query::{LimitParam, Paging, SearchText},
    reference::{IfMatch, InWorld, OfMember},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListWorlds {
    /// Only worlds whose name contains this, whatever its case.
    #[param(value_type = Option<String>, max_length = 64)]
    q: Option<SearchText>,
    /// The order.
    #[param(inline)]
    #[serde(default)]
    sort: Sort,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[schema(default = "-createdAt")]
enum Sort {
    #[default]
    #[serde(rename = "-createdAt")]
    NewestFirst,
    #[serde(rename = "createdAt")]
    OldestFirst,
}

impl From<Sort> for WorldSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::NewestFirst => Self::NewestFirst,
            Sort::OldestFirst => Self::OldestFirst,
        }
    }
}

/// Lists the public worlds, and those the caller belongs to.
///
/// Archived worlds are left out.
#[utoipa::path(
    get,
    path = "/api/v1/worlds",
    operation_id = "listWorlds",
    tag = "worlds",
    params(ListWorlds),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<WorldBody>),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn list(cx: Context<ListWorlds>) -> Answer {
    let ListWorlds { q, sort, cursor, limit } = &cx.query;
    let text = q.as_ref().map(|q| q.0.clone()).filter(|text| !text.is_empty());
    let list = format!("worlds?sort={sort:?}&q={}", text.as_deref().unwrap_or_default());
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let query = WorldQuery { text, sort: (*sort).into(), after, limit: limit.0, ..WorldQuery::default() };
    let page = cx.services.worlds.list(cx.actor(), query).await?;
    let next = page.next(|world| cx.services.cursors.seal(&list, &world.id));
    Ok(cx.list(page.items.iter().map(WorldBody::from), next))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateWorld {
    /// Its name.
    #[schema(min_length = 2, max_length = 64)]
    name: String,
    /// Its slug; made of the name if absent. Words that may become paths are reserved.
    #[schema(min_length = 2, max_length = 48, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    slug: Option<String>,
    /// What it says of itself.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Who sees it.
    #[schema(default = "public")]
    visibility: Option<Visibility>,
    /// How one becomes a member.
    #[schema(default = "open")]
    join_policy: Option<JoinPolicy>,
}

impl CreateWorld {
    fn draft(self) -> Result<WorldDraft, Stop> {
        Ok(WorldDraft {
            name: WorldName::new(&self.name)?,
            slug: self.slug.as_deref().map(Slug::new).transpose()?,
            description: Description::new(&self.description.unwrap_or_default())?,
            visibility: self.visibility.unwrap_or_default(),
            join_policy: self.join_policy.unwrap_or_default(),
        })
    }
}

/// Makes a world whose owner is the caller.
///
/// Needs `world.create`. Without a slug one is made of the name.
#[utoipa::path(
    post,
    path = "/api/v1/worlds",
    operation_id = "createWorld",
    tag = "worlds",
    request_body(content = CreateWorld, example = json!({ "name": "Mistral", "slug": "mistral", "visibility": "public", "joinPolicy": "open" })),
    responses(
        (status = 201, description = "The world.", body = WorldBody),
        (status = 403, description = "permission-denied"),
        (status = 409, description = "slug-taken"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn create(cx: Context, body: Body) -> Answer {
    let worlds = &cx.services.worlds;
    let draft =
        cx.json(body).await.and_then(CreateWorld::draft).unless_denied(worlds.require_create(cx.actor())).await?;
    let world = worlds.create(cx.actor(), draft).await?;
    let location = format!("/api/v1/worlds/{}", world.slug);
    Ok(answer::created(&location, &WorldBody::from(&world)).tagged(world.revision))
}

/// Answers a world.
///
/// A private world is found by its members alone.
#[utoipa::path(
    get,
    path = "/api/v1/worlds/{world}",
    operation_id = "getWorld",
    tag = "worlds",
    params(InWorld),
    responses(
        (status = 200, description = "The world.", body = WorldBody),
        (status = 404, description = "world-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn find(cx: Context) -> Answer {
    let reference: WorldRef = cx.param("world").ok_or(WorldError::NotFound)?;
    let resolved = cx.services.worlds.resolve(cx.actor(), &reference).await?;
    let world = resolved.world;
    if !resolved.canonical {
        return Err(cx.moved_to(world.slug.as_str()));
    }
    Ok(answer::ok(&WorldBody::from(&world)).tagged(world.revision))
}

/// What is to change; what is absent stays, and nothing can be null.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AmendWorld {
    /// Its name.
    #[schema(value_type = String, min_length = 2, max_length = 64)]
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    /// Its slug; the former one keeps leading here.
    #[schema(value_type = String, min_length = 2, max_length = 48, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    #[serde(deserialize_with = "present")]
    slug: Option<String>,
    /// What it says of itself.
    #[schema(value_type = String, max_length = 2000)]
    #[serde(deserialize_with = "present")]
    description: Option<String>,
    /// Who sees it.
    #[schema(value_type = Visibility)]
    #[serde(deserialize_with = "present")]
    visibility: Option<Visibility>,
    /// How one becomes a member.
    #[schema(value_type = JoinPolicy)]
    #[serde(deserialize_with = "present")]
    join_policy: Option<JoinPolicy>,
}

impl AmendWorld {
    fn amendment(self) -> Result<WorldAmendment, Stop> {
        Ok(WorldAmendment {
            name: self.name.as_deref().map(WorldName::new).transpose()?,
            slug: self.slug.as_deref().map(Slug::new).transpose()?,
            description: self.description.as_deref().map(Description::new).transpose()?,
            visibility: self.visibility,
            join_policy: self.join_policy,
        })
    }
}

/// Changes a world in the state that If-Match names.
///
/// Needs `world.manage`. What is absent stays. A former slug keeps leading to its world.
#[utoipa::path(
    patch,
    path = "/api/v1/worlds/{world}",
    operation_id = "amendWorld",
    tag = "worlds",
    params(InWorld, IfMatch),
    request_body(content = AmendWorld, example = json!({ "description": "Where the wind comes from." })),
    responses(
        (status = 200, description = "The world as it is now.", body = WorldBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found"),
        (status = 409, description = "slug-taken"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    let worlds = &cx.services.worlds;
    let world = cx.world().await?;
    let amendment = cx.json(body).await.and_then(AmendWorld::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(worlds.require_manage(cx.actor(), &world)).await?;
    let world = worlds.amend(cx.actor(), &world, Some(expected), amendment).await?;
    Ok(answer::ok(&WorldBody::from(&world)).tagged(world.revision))
}

/// Archives a world in the state that If-Match names.
///
/// Needs `world.manage`.
#[utoipa::path(
    delete,
    path = "/api/v1/worlds/{world}",
    operation_id = "archiveWorld",
    tag = "worlds",
    params(InWorld, IfMatch),
    responses(
        (status = 204, description = "The world is archived."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn archive(cx: Context) -> Answer {
    let worlds = &cx.services.worlds;
    let world = cx.world().await?;
    let expected = cx.if_match().unless_denied(worlds.require_manage(cx.actor(), &world)).await?;
    worlds.archive(cx.actor(), &world, Some(expected)).await?;
    Ok(answer::no_content())
}

/// Lists who holds a role in a world.
///
/// Whoever may read the world may read this.
#[utoipa::path(
    get,
    path = "/api/v1/worlds/{world}/members",
    operation_id = "listMembers",
    tag = "worlds",
    params(InWorld, Paging),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<MemberBody>),
        (status = 404, description = "world-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn members(cx: Context<Paging>) -> Answer {
    let world = cx.world_id().await?;
    let list = format!("worlds/{world}/members");
    let after = cx.query.cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let page = cx.services.worlds.members(cx.actor(), &WorldRef::Id(world), after, cx.query.limit.0).await?;
    let next = page.next(|member| cx.services.cursors.seal(&list, &member.account));
    Ok(cx.list(page.items.iter().map(MemberBody::from), next))
}

/// Makes the caller a member, and answers the world that was joined.
///
/// Only worlds whose join policy is `open`; whoever is a member already stays one.
#[utoipa::path(
    put,
    path = "/api/v1/worlds/{world}/members/me",
    operation_id = "joinWorld",
    tag = "worlds",
    params(InWorld),
    responses(
        (status = 200, description = "The world.", body = WorldBody),
        (status = 403, description = "invite-required, permission-denied"),
        (status = 404, description = "world-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn join(cx: Context, body: Body) -> Answer {
    let world = cx.world().await?;
    let Nothing {} = cx.json_or_default(body).await.unless_denied(cx.services.accounts.me(cx.actor())).await?;
    let world = cx.services.worlds.join(cx.actor(), &world).await?;
    Ok(answer::ok(&WorldBody::from(&world)))
}

/// Takes every role in a world from the caller.
///
/// The last owner of a world stays.
#[utoipa::path(
    delete,
    path = "/api/v1/worlds/{world}/members/me",
    operation_id = "leaveWorld",
    tag = "worlds",
    params(InWorld),
    responses(
        (status = 204, description = "The caller is no member any more."),
        (status = 404, description = "world-not-found, member-not-found"),
        (status = 409, description = "last-owner"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn leave(cx: Context) -> Answer {
    let world = cx.world().await?;
    cx.services.worlds.leave(cx.actor(), &world).await?;
    Ok(answer::no_content())
}

/// Takes every role in a world from another account.
///
/// Needs `world.manage`, and a rank above that of every role that is taken.
#[utoipa::path(
    delete,
    path = "/api/v1/worlds/{world}/members/{userId}",
    operation_id = "removeMember",
    tag = "worlds",
    params(InWorld, OfMember),
    responses(
        (status = 204, description = "The account is no member any more."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found, member-not-found"),
        (status = 409, description = "last-owner"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn remove_member(cx: Context) -> Answer {
    let world = cx.world().await?;
    let account = cx.param("userId").ok_or(AccessError::MemberNotFound)?;
    cx.services.worlds.remove_member(cx.actor(), &world, account).await?;
    Ok(answer::no_content())
}
