//! What quell remembers: effects, positions and the outbox, in one transaction.
//!
//! Deliberately absent: decisions, foreign formats and routes. Rows never leave their module: what goes in and comes
//! out are the nouns of `quell-domain` and the effects of `quell-engine`.

pub mod contract;
pub mod forecasts;
mod json;
pub mod postgres;
mod problem_json;
pub mod problems;
mod said;
mod sql;
pub mod sqlite;
mod transfer;

pub use contract::{
    AlertQuery, Change, ChangeQuery, Commit, Committed, Delivery, Flush, IncidentDetail, IncidentQuery, Page,
    Positions, RELATED, Restored, Store, StoreError, Version,
};
pub use forecasts::{ForecastStore, MODELS, Which};
pub use postgres::PostgresStore;
pub use problems::{INVOLVED, Involved, ProblemDelivery, ProblemDetail, ProblemQuery, ProblemStore, RecognisedQuery};
pub use sqlite::SqliteStore;
pub use transfer::{TransferError, transfer};
