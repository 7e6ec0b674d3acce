//! `users/me/devices`: what the own account signed in from.

use axum::body::Body;
use serde::Deserialize;
use utoipa::ToSchema;
use weltenwind_core::{
    accounts::{AccountError, DeviceName},
    wire::{DeviceBody, ListBody},
};

use crate::{
    answer::{self, Answer},
    context::Context,
    problem::{Stop, UnlessDenied as _},
    query::Paging,
    reference::OfDevice,
};

/// Lists the own devices, youngest first.
///
/// A device is made by a sign-in without a known fingerprint. When it was last seen is told in steps of five minutes; of its
/// fingerprint and its network only keyed hashes are kept, and only their beginnings are told.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/devices",
    operation_id = "listDevices",
    tag = "accounts",
    params(Paging),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<DeviceBody>),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(cx: Context<Paging>) -> Answer {
    let account = cx.actor().oneself().map_err(AccountError::from)?.account;
    let list = format!("devices?account={account}");
    let after = cx.query.cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let page = cx.services.accounts.devices(cx.actor(), after, cx.query.limit.0).await?;
    let next = page.next(|device| cx.services.cursors.seal(&list, &device.id));
    let own = cx.actor().device;
    Ok(cx.list(page.items.iter().map(|device| DeviceBody::of(device, own)), next))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NameDevice {
    /// What to call it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

impl NameDevice {
    fn name(self) -> Result<DeviceName, Stop> {
        Ok(DeviceName::new(&self.name)?)
    }
}

/// Gives one of the own devices another name.
///
/// It keeps that name, whatever a later sign-in calls it.
#[utoipa::path(
    patch,
    path = "/api/v1/users/me/devices/{id}",
    operation_id = "nameDevice",
    tag = "accounts",
    params(OfDevice),
    request_body(content = NameDevice, example = json!({ "name": "Kitchen tablet" })),
    responses(
        (status = 200, description = "The device as it is now.", body = DeviceBody),
        (status = 404, description = "device-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn name(cx: Context, body: Body) -> Answer {
    let accounts = &cx.services.accounts;
    let name = cx.json(body).await.and_then(NameDevice::name).unless_denied(accounts.me(cx.actor())).await?;
    let id = cx.param("id").ok_or(AccountError::DeviceNotFound)?;
    let device = accounts.rename_device(cx.actor(), id, &name).await?;
    Ok(answer::ok(&DeviceBody::of(&device, cx.actor().device)))
}

/// Signs one of the own devices out.
///
/// Every session on it ends, with its sockets, on every node within a second. The next sign-in from there makes another device.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/devices/{id}",
    operation_id = "endDevice",
    tag = "accounts",
    params(OfDevice),
    responses(
        (status = 204, description = "The device is signed out."),
        (status = 404, description = "device-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn end(cx: Context) -> Answer {
    let Some(id) = cx.param("id") else {
        return Err(cx.actor().oneself().map_or_else(AccountError::from, |_| AccountError::DeviceNotFound).into());
    };
    cx.services.accounts.end_device(cx.actor(), id).await?;
    Ok(answer::no_content())
}
