//! `announcements/…`.

use axum::body::Body;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use weltenwind_core::{
    AnnouncementId, DedupeKey, GroupId, Invalid, Scope, WorldId,
    access::Role,
    announcements::{
        AnnouncementAmendment, AnnouncementDraft, AnnouncementError, AnnouncementSearch, AnnouncementSort,
        AnnouncementState, AnnouncementText, Audience, AudienceKind, Title,
    },
    wire::{AnnouncementBody, ListBody, WireTime},
};

use crate::{
    answer::{self, Answer, With as _},
    context::{self, Context},
    json::{Node, present},
    problem::{Stop, UnlessDenied as _},
    query::{LimitParam, SearchText},
    reference::{IfMatch, OfAnnouncement},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAnnouncements {
    /// Where they belong; the whole installation if absent.
    scope: Option<Scope>,
    /// Only those with all of these words in title or body. On Postgres other forms of a German or English word are found too,
    /// and titles that are nearly alike where nothing has the words.
    #[param(value_type = Option<String>, max_length = 64)]
    q: Option<SearchText>,
    /// The order, by the time of publication.
    #[param(inline)]
    #[serde(default)]
    sort: Sort,
    /// Which ones: those that are visible now, or will be, or were. Needs `announcement.publish` unless it is `published`.
    #[param(inline)]
    #[serde(default)]
    state: State,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[schema(default = "-publishedAt")]
enum Sort {
    #[default]
    #[serde(rename = "-publishedAt")]
    NewestFirst,
    #[serde(rename = "publishedAt")]
    OldestFirst,
}

impl From<Sort> for AnnouncementSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::NewestFirst => Self::NewestFirst,
            Sort::OldestFirst => Self::OldestFirst,
        }
    }
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[schema(default = "published")]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Published,
    Scheduled,
    Expired,
}

impl From<State> for AnnouncementState {
    fn from(state: State) -> Self {
        match state {
            State::Published => Self::Published,
            State::Scheduled => Self::Scheduled,
            State::Expired => Self::Expired,
        }
    }
}

/// Lists announcements of a scope.
///
/// A world's are read by whoever may read the world. Those for a role are listed for whoever holds it there, and for whoever may
/// publish.
#[utoipa::path(
    get,
    path = "/api/v1/announcements",
    operation_id = "listAnnouncements",
    tag = "announcements",
    params(ListAnnouncements),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<AnnouncementBody>),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found, group-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn list(cx: Context<ListAnnouncements>) -> Answer {
    let ListAnnouncements { scope, q, sort, state, cursor, limit } = &cx.query;
    let scope = scope.unwrap_or(Scope::Global);
    let text = q.as_ref().map(|q| q.0.clone()).filter(|text| !text.is_empty());
    let words = text.as_deref().unwrap_or_default();
    let list = format!("announcements?scope={scope}&state={state:?}&sort={sort:?}&q={words}");
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let search =
        AnnouncementSearch { scope, state: (*state).into(), text, sort: (*sort).into(), after, limit: limit.0 };
    let page = cx.services.announcements.list(cx.actor(), search).await?;
    let next = page.next.map(|position| cx.services.cursors.seal(&list, &position));
    Ok(cx.list(page.items.iter().map(AnnouncementBody::from), next))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublishAnnouncement {
    /// What it is called.
    #[schema(min_length = 1, max_length = 120)]
    title: String,
    /// What it says.
    #[schema(min_length = 1, max_length = 4000)]
    body: String,
    /// Whom it is meant for.
    audience: ChooseAudience,
    /// From when on it is visible; at once if absent or past, and within a year.
    publish_at: Option<WireTime>,
    /// From when on it is not any more; behind `publishAt`.
    expires_at: Option<WireTime>,
    /// A name under which it is made once in its scope: 1 to 64 visible ASCII characters. A repeat answers the first one.
    #[schema(pattern = "^[!-~]{1,64}$")]
    dedupe_key: Option<String>,
}

/// Whom an announcement is meant for.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChooseAudience {
    /// The kind. Groups are not kept yet, so there is none to be found.
    kind: AudienceKind,
    /// The world; with the kind `world`, and with a role that is held in a world.
    world_id: Option<WorldId>,
    /// The role; with the kind `role`.
    role: Option<Role>,
    /// The group; with the kind `group`, and with a role that is held in a group.
    group_id: Option<GroupId>,
}

impl ChooseAudience {
    fn audience(self) -> Result<Audience, Invalid> {
        let needed = |member: &str| {
            let detail = format!("{member} is required for the kind {}", self.kind);
            Invalid::at(&format!("/audience/{member}"), detail)
        };
        let role = match (self.kind, self.role) {
            (AudienceKind::Role, role) => Some(role.ok_or_else(|| needed("role"))?),
            (_, None) => None,
            (kind, Some(_)) => {
                return Err(Invalid::at("/audience/role", format!("role is not known to the kind {kind}")));
            }
        };
        let scope = match (self.kind, self.world_id, self.group_id) {
            (AudienceKind::World, None, _) => return Err(needed("worldId")),
            (AudienceKind::Group, _, None) => return Err(needed("groupId")),
            (AudienceKind::World | AudienceKind::Role, Some(world), None) => Scope::World(world),
            (AudienceKind::Group | AudienceKind::Role, None, Some(group)) => Scope::Group(group),
            (AudienceKind::Global | AudienceKind::Role, None, None) => Scope::Global,
            (AudienceKind::Global | AudienceKind::Group, Some(_), _) => {
                let detail = format!("worldId is not known to the kind {}", self.kind);
                return Err(Invalid::at("/audience/worldId", detail));
            }
            (_, _, Some(_)) => {
                let detail = format!("groupId is not known to the kind {}", self.kind);
                return Err(Invalid::at("/audience/groupId", detail));
            }
        };
        match role {
            Some(role) => Audience::role(role, scope),
            None => Ok(Audience::of(scope)),
        }
    }
}

impl PublishAnnouncement {
    fn draft(self) -> Result<AnnouncementDraft, Stop> {
        Ok(AnnouncementDraft {
            audience: self.audience.audience()?,
            title: Title::new(&self.title)?,
            body: AnnouncementText::new(&self.body)?,
            publish_at: self.publish_at.map(|at| at.0),
            expires_at: self.expires_at.map(|at| at.0),
            dedupe_key: self.dedupe_key.as_deref().map(DedupeKey::new).transpose()?,
        })
    }
}

/// Publishes an announcement, now or later.
///
/// Needs `announcement.publish` in the scope of the audience, and an `Idempotency-Key`: what everybody is told is told once.
/// Members and holders of a role are notified in the background; whoever joins later is not.
#[utoipa::path(
    post,
    path = "/api/v1/announcements",
    operation_id = "publishAnnouncement",
    tag = "announcements",
    request_body(content = PublishAnnouncement, example = json!({
        "title": "The gates open at dusk",
        "body": "Season 7 begins tonight.",
        "audience": { "kind": "global" },
        "expiresAt": "2099-12-31T23:59:59.000Z",
    })),
    responses(
        (status = 200, description = "The first announcement under the dedupe key.", body = AnnouncementBody),
        (status = 201, description = "The announcement.", body = AnnouncementBody),
        (status = 400, description = "idempotency-key-required, malformed-request"),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found, group-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn publish(cx: Context, body: Body) -> Answer {
    let wish = cx.tree(body).await?;
    // The audience says whom to ask, also where another member is wrong.
    let scope = wish.member("audience").cloned().and_then(scope_of);
    let draft = context::read(wish).and_then(PublishAnnouncement::draft);
    let draft = draft.and_then(|draft| cx.require_key().map(|()| draft));
    let draft = draft.unless_denied(may_publish(&cx, scope)).await?;
    let published = cx.services.announcements.publish(cx.actor(), draft).await?;
    let body = AnnouncementBody::from(&published.announcement);
    let answer = if published.is_new {
        answer::created(&format!("/api/v1/announcements/{}", body.id), &body)
    } else {
        answer::ok(&body)
    };
    Ok(answer.tagged(published.announcement.revision))
}

fn scope_of(audience: Node) -> Option<Scope> {
    let audience: ChooseAudience = audience.read().ok()?;
    Some(audience.audience().ok()?.scope())
}

async fn may_publish(cx: &Context, scope: Option<Scope>) -> Result<(), Stop> {
    match scope {
        Some(scope) => cx.services.announcements.require_publish_in(cx.actor(), scope).await?,
        None => drop(cx.services.accounts.me(cx.actor()).await?),
    }
    Ok(())
}

/// Answers an announcement.
///
/// One that is not visible yet, or any more, is found by whoever may publish there.
#[utoipa::path(
    get,
    path = "/api/v1/announcements/{id}",
    operation_id = "getAnnouncement",
    tag = "announcements",
    params(OfAnnouncement),
    responses(
        (status = 200, description = "The announcement.", body = AnnouncementBody),
        (status = 404, description = "announcement-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn find(cx: Context) -> Answer {
    let announcement = cx.services.announcements.find(cx.actor(), id(&cx)?).await?;
    Ok(answer::ok(&AnnouncementBody::from(&announcement)).tagged(announcement.revision))
}

/// What is to change; what is absent stays, and only the end can be null. The audience stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent and null are two wishes")]
struct AmendAnnouncement {
    /// What it is called.
    #[schema(value_type = String, min_length = 1, max_length = 120)]
    #[serde(deserialize_with = "present")]
    title: Option<String>,
    /// What it says.
    #[schema(value_type = String, min_length = 1, max_length = 4000)]
    #[serde(deserialize_with = "present")]
    body: Option<String>,
    /// From when on it is visible; changes only before it is.
    #[schema(value_type = WireTime)]
    #[serde(deserialize_with = "present")]
    publish_at: Option<WireTime>,
    /// From when on it is not any more; null is never.
    #[schema(value_type = Option<WireTime>, required = false)]
    #[serde(deserialize_with = "present")]
    expires_at: Option<Option<WireTime>>,
}

impl AmendAnnouncement {
    fn amendment(self) -> Result<AnnouncementAmendment, Stop> {
        Ok(AnnouncementAmendment {
            title: self.title.as_deref().map(Title::new).transpose()?,
            body: self.body.as_deref().map(AnnouncementText::new).transpose()?,
            publish_at: self.publish_at.map(|at| at.0),
            expires_at: self.expires_at.map(|end| end.map(|at| at.0)),
        })
    }
}

/// Changes an announcement in the state that If-Match names.
///
/// Needs `announcement.publish`. Whoever was notified reads the new text; nobody is notified again.
#[utoipa::path(
    patch,
    path = "/api/v1/announcements/{id}",
    operation_id = "amendAnnouncement",
    tag = "announcements",
    params(OfAnnouncement, IfMatch),
    request_body(content = AmendAnnouncement, example = json!({ "body": "Season 7 begins tomorrow night." })),
    responses(
        (status = 200, description = "The announcement as it is now.", body = AnnouncementBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "announcement-not-found"),
        (status = 409, description = "announcement-published"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    cx.require_sign_in()?;
    let (announcements, id) = (&cx.services.announcements, id(&cx)?);
    let amendment = cx.json(body).await.and_then(AmendAnnouncement::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(announcements.require_publish(cx.actor(), id)).await?;
    let announcement = announcements.amend(cx.actor(), id, Some(expected), amendment).await?;
    Ok(answer::ok(&AnnouncementBody::from(&announcement)).tagged(announcement.revision))
}

/// Withdraws an announcement in the state that If-Match names.
///
/// Needs `announcement.publish`. It is gone for everybody, and from everybody's notifications.
#[utoipa::path(
    delete,
    path = "/api/v1/announcements/{id}",
    operation_id = "withdrawAnnouncement",
    tag = "announcements",
    params(OfAnnouncement, IfMatch),
    responses(
        (status = 204, description = "The announcement is withdrawn."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "announcement-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn withdraw(cx: Context) -> Answer {
    cx.require_sign_in()?;
    let (announcements, id) = (&cx.services.announcements, id(&cx)?);
    let expected = cx.if_match().unless_denied(announcements.require_publish(cx.actor(), id)).await?;
    announcements.withdraw(cx.actor(), id, Some(expected)).await?;
    Ok(answer::no_content())
}

fn id<Q>(cx: &Context<Q>) -> Result<AnnouncementId, AnnouncementError> {
    cx.param("id").ok_or(AnnouncementError::NotFound)
}
