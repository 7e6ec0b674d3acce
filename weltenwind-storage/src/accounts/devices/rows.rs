//! Devices as rows.

use uuid::Uuid;
use weltenwind_core::{
    AccountId, DeviceId,
    accounts::{Device, DeviceName, Seen, TokenHash},
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName},
};

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct DeviceRow {
    #[sqlx(rename = "device_id")]
    id: Uuid,
    #[sqlx(rename = "device_account_id")]
    account_id: Uuid,
    #[sqlx(rename = "device_name")]
    name: Option<String>,
    fingerprint: Option<Vec<u8>>,
    #[sqlx(rename = "device_created_at")]
    created_at: Instant,
    seen_at: Option<Instant>,
    address: Option<Vec<u8>>,
}

impl TryFrom<DeviceRow> for Device {
    type Error = BrokenRow;

    fn try_from(row: DeviceRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("devices", row.id);
        let hash = |column, bytes: Option<Vec<u8>>| {
            bytes.map(|bytes| name.bytes(column, &bytes).map(TokenHash::new)).transpose()
        };
        let address = hash("address", row.address)?;
        Ok(Self {
            id: DeviceId::new(row.id),
            account: AccountId::new(row.account_id),
            name: row.name.map(DeviceName::from_stored),
            fingerprint: hash("fingerprint", row.fingerprint)?,
            created_at: row.created_at.0,
            seen: match row.seen_at {
                Some(at) => Seen { at: at.0, address },
                // It was last written before that was kept.
                None => Seen::new(row.created_at.0, address),
            },
        })
    }
}
