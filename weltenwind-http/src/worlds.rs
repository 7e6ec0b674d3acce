//! `worlds/…`: worlds and who belongs to them.

use axum::body::Body;
use serde::Deserialize;
use weltenwind_core::{
    access::AccessError,
    wire::{MemberBody, WorldBody},
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
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListWorlds {
    q: Option<SearchText>,
    #[serde(default)]
    sort: Sort,
    cursor: Option<String>,
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
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

/// `GET /api/v1/worlds`: the public worlds, and those the caller belongs to.
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateWorld {
    name: String,
    slug: Option<String>,
    description: Option<String>,
    visibility: Option<Visibility>,
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

/// `POST /api/v1/worlds`: makes a world whose owner is the caller.
pub(crate) async fn create(cx: Context, body: Body) -> Answer {
    let worlds = &cx.services.worlds;
    let draft =
        cx.json(body).await.and_then(CreateWorld::draft).unless_denied(worlds.require_create(cx.actor())).await?;
    let world = worlds.create(cx.actor(), draft).await?;
    let location = format!("/api/v1/worlds/{}", world.slug);
    Ok(answer::created(&location, &WorldBody::from(&world)).tagged(world.revision))
}

/// `GET /api/v1/worlds/{world}`: one world; 308 on a former slug.
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
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AmendWorld {
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    #[serde(deserialize_with = "present")]
    slug: Option<String>,
    #[serde(deserialize_with = "present")]
    description: Option<String>,
    #[serde(deserialize_with = "present")]
    visibility: Option<Visibility>,
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

/// `PATCH /api/v1/worlds/{world}`: changes a world in the state that If-Match names.
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    let worlds = &cx.services.worlds;
    let world = cx.world().await?;
    let amendment = cx.json(body).await.and_then(AmendWorld::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(worlds.require_manage(cx.actor(), &world)).await?;
    let world = worlds.amend(cx.actor(), &world, Some(expected), amendment).await?;
    Ok(answer::ok(&WorldBody::from(&world)).tagged(world.revision))
}

/// `DELETE /api/v1/worlds/{world}`: archives a world in the state that If-Match names.
pub(crate) async fn archive(cx: Context) -> Answer {
    let worlds = &cx.services.worlds;
    let world = cx.world().await?;
    let expected = cx.if_match().unless_denied(worlds.require_manage(cx.actor(), &world)).await?;
    worlds.archive(cx.actor(), &world, Some(expected)).await?;
    Ok(answer::no_content())
}

/// `GET /api/v1/worlds/{world}/members`: who holds a role in a world.
pub(crate) async fn members(cx: Context<Paging>) -> Answer {
    let world = cx.world_id().await?;
    let list = format!("worlds/{world}/members");
    let after = cx.query.cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let page = cx.services.worlds.members(cx.actor(), &WorldRef::Id(world), after, cx.query.limit.0).await?;
    let next = page.next(|member| cx.services.cursors.seal(&list, &member.account));
    Ok(cx.list(page.items.iter().map(MemberBody::from), next))
}

/// `PUT /api/v1/worlds/{world}/members/me`: makes the caller a member, and answers the world that was joined.
pub(crate) async fn join(cx: Context, body: Body) -> Answer {
    let world = cx.world().await?;
    let Nothing {} = cx.json_or_default(body).await.unless_denied(cx.services.accounts.me(cx.actor())).await?;
    let world = cx.services.worlds.join(cx.actor(), &world).await?;
    Ok(answer::ok(&WorldBody::from(&world)))
}

/// `DELETE /api/v1/worlds/{world}/members/me`: takes every role in a world from the caller.
pub(crate) async fn leave(cx: Context) -> Answer {
    let world = cx.world().await?;
    cx.services.worlds.leave(cx.actor(), &world).await?;
    Ok(answer::no_content())
}

/// `DELETE /api/v1/worlds/{world}/members/{userId}`: takes every role in a world from another account.
pub(crate) async fn remove_member(cx: Context) -> Answer {
    let world = cx.world().await?;
    let account = cx.param("userId").ok_or(AccessError::MemberNotFound)?;
    cx.services.worlds.remove_member(cx.actor(), &world, account).await?;
    Ok(answer::no_content())
}
