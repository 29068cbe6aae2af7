//! What quell remembers: effects, positions and the outbox, in one transaction.
//!
//! Deliberately absent: decisions, foreign formats and routes. Rows never leave their module: what goes in and comes
//! out are the nouns of `quell-domain` and the effects of `quell-engine`.

pub mod contract;
mod json;
pub mod postgres;
mod said;
mod sql;
pub mod sqlite;

pub use contract::{
    AlertQuery, Change, ChangeQuery, Commit, Committed, Delivery, Flush, IncidentDetail, IncidentQuery, Page,
    Positions, RELATED, Restored, Store, StoreError, Version,
};
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
