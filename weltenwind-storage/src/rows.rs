//! Values as both databases store them, and the way back from a row to the domain.

use std::{fmt::Display, str::FromStr};

use jiff::Timestamp;
use sqlx::{Database, Decode, Encode, Type, encode::IsNull, error::BoxDynError};
use uuid::Uuid;
use weltenwind_core::{GroupId, Scope, WorldId};

use crate::error::BrokenRow;

/// Before every identifier: where a list begins. Unlike an absent position it lets both databases begin to read in the
/// index where the page does.
pub(crate) const FIRST: Uuid = Uuid::nil();

/// Behind every identifier.
pub(crate) const LAST: Uuid = Uuid::max();

/// An instant: `TIMESTAMPTZ` in Postgres, INTEGER microseconds in SQLite. What is finer than a microsecond is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl Instant {
    fn from_microsecond(microseconds: i64) -> Result<Self, BoxDynError> {
        Ok(Self(Timestamp::from_microsecond(microseconds)?))
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::Sqlite;

    use super::{BoxDynError, Database, Decode, Encode, Instant, IsNull, Type};

    impl Type<Sqlite> for Instant {
        fn type_info() -> <Sqlite as Database>::TypeInfo {
            <i64 as Type<Sqlite>>::type_info()
        }

        fn compatible(ty: &<Sqlite as Database>::TypeInfo) -> bool {
            <i64 as Type<Sqlite>>::compatible(ty)
        }
    }

    impl Encode<'_, Sqlite> for Instant {
        fn encode_by_ref(&self, buf: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
            Encode::<Sqlite>::encode(self.0.as_microsecond(), buf)
        }
    }

    impl<'r> Decode<'r, Sqlite> for Instant {
        fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
            Self::from_microsecond(Decode::<Sqlite>::decode(value)?)
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{
        Postgres,
        postgres::{PgHasArrayType, PgTypeInfo, PgValueFormat},
    };

    use super::{BoxDynError, Database, Decode, Encode, Instant, IsNull, Type};

    /// 2000-01-01T00:00:00Z, from which Postgres counts.
    const EPOCH: i64 = 946_684_800_000_000;

    impl Type<Postgres> for Instant {
        fn type_info() -> PgTypeInfo {
            PgTypeInfo::with_name("TIMESTAMPTZ")
        }
    }

    impl PgHasArrayType for Instant {
        fn array_type_info() -> PgTypeInfo {
            PgTypeInfo::array_of("TIMESTAMPTZ")
        }
    }

    impl Encode<'_, Postgres> for Instant {
        fn encode_by_ref(&self, buf: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
            Encode::<Postgres>::encode(self.0.as_microsecond() - EPOCH, buf)
        }
    }

    impl<'r> Decode<'r, Postgres> for Instant {
        fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
            match value.format() {
                PgValueFormat::Binary => {
                    let microseconds: i64 = Decode::<Postgres>::decode(value)?;
                    Self::from_microsecond(microseconds.saturating_add(EPOCH))
                }
                PgValueFormat::Text => Ok(Self(value.as_str()?.parse()?)),
            }
        }
    }
}

/// A scope in its two columns.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ScopeColumns {
    pub(crate) scope_kind: String,
    pub(crate) scope_id: Option<Uuid>,
}

impl From<Scope> for ScopeColumns {
    fn from(scope: Scope) -> Self {
        let scope_id = match scope {
            Scope::Global => None,
            Scope::World(id) => Some(id.uuid()),
            Scope::Group(id) => Some(id.uuid()),
        };
        Self { scope_kind: scope.kind().to_string(), scope_id }
    }
}

/// Names a row, so that a value which breaks an invariant can be found.
///
/// ```text
/// let row = RowName::new("worlds", self.id);
/// let visibility = row.parse("visibility", &self.visibility)?;
/// ```
#[derive(Debug)]
pub(crate) struct RowName<I> {
    table: &'static str,
    id: I,
}

impl<I: Display> RowName<I> {
    pub(crate) const fn new(table: &'static str, id: I) -> Self {
        Self { table, id }
    }

    pub(crate) fn broken(&self, column: &'static str) -> BrokenRow {
        BrokenRow::new(self.table, column, &self.id)
    }

    /// Reads a word or a text with a form.
    pub(crate) fn parse<T: FromStr>(&self, column: &'static str, text: &str) -> Result<T, BrokenRow> {
        text.parse().map_err(|_| self.broken(column))
    }

    /// Reads a number that is never negative.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str, number: i64) -> Result<T, BrokenRow> {
        number.try_into().map_err(|_| self.broken(column))
    }

    /// Reads bytes of a fixed length.
    pub(crate) fn bytes<const N: usize>(&self, column: &'static str, bytes: &[u8]) -> Result<[u8; N], BrokenRow> {
        bytes.try_into().map_err(|_| self.broken(column))
    }

    /// Reads a scope.
    pub(crate) fn scope(&self, columns: &ScopeColumns) -> Result<Scope, BrokenRow> {
        match (columns.scope_kind.as_str(), columns.scope_id) {
            ("global", None) => Ok(Scope::Global),
            ("world", Some(id)) => Ok(Scope::World(WorldId::new(id))),
            ("group", Some(id)) => Ok(Scope::Group(GroupId::new(id))),
            _ => Err(self.broken("scope_kind")),
        }
    }
}

/// Makes the domain's value of a row that may be absent.
pub(crate) fn one<T: TryFrom<R, Error = BrokenRow>, R>(row: Option<R>) -> sqlx::Result<Option<T>> {
    Ok(row.map(T::try_from).transpose()?)
}

/// Makes the domain's values of rows.
pub(crate) fn all<T: TryFrom<R, Error = BrokenRow>, R>(rows: Vec<R>) -> sqlx::Result<Vec<T>> {
    Ok(rows.into_iter().map(T::try_from).collect::<Result<_, _>>()?)
}

/// The LIKE pattern, under the escape `\`, of what contains `text`.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
