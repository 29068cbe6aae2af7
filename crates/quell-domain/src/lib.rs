//! The words of quell, as types: every noun that carries an invariant and holds no opinion.
//!
//! Deliberately absent: serde, clocks, tables, routes, graphs and decisions.
//! A conversion to or from a foreign text belongs in `quell-formats`; a decision belongs in `quell-engine`.
#![deny(clippy::iter_over_hash_type)]

pub mod alert;
pub mod batch;
pub mod change;
pub mod ci;
pub mod command;
pub mod feedback;
pub mod forecast;
pub mod history;
pub mod ids;
pub mod incident;
pub mod input;
pub mod labels;
pub mod origin;
pub mod problem;
pub mod reason;
pub mod sharding;
pub mod signature;
pub mod time;
pub mod topology;

pub use alert::{Alert, AlertState, Binding, Ending, Severity, Source};
pub use batch::{Action, Batch, BatchBuilder, Item, ItemDraft, Reject};
pub use change::{Change, ChangeId, Changes, ToldChange};
pub use ci::{Ci, CiId, Criticality, Layer, Lifecycle, Redundancy, Relationship};
pub use command::{Command, CommandKind, Outcome, Verdict};
pub use feedback::{Feedback, Party, Said, Standing};
pub use forecast::{Came, HORIZONS, KeptForecast, KeptModel, Subject};
pub use history::{HistoricIncident, Signature};
pub use ids::{AlertId, Digest, Fingerprint, IncidentId, Moment, Position, ReceiptId, Shard};
pub use incident::{
    Act, ActKind, BlastRadius, Cause, CauseVerdict, Impact, Incident, IncidentState, Notice, Priority, SPLIT_ORDINAL,
    ServiceAtRisk, TimelineEntry, Transition, Urgency,
};
pub use input::{Activation, ArtefactKind, Input, RecordKind};
pub use labels::{Labels, LabelsRef};
pub use origin::{Origin, Seen};
pub use problem::{
    Fix, FixOutcome, Outage, Problem, ProblemAct, ProblemAsk, ProblemCommand, ProblemEntry, ProblemField, ProblemId,
    ProblemState, Standing as ProblemStanding, Verified,
};
pub use reason::{Fact, Reason};
pub use sharding::{BadSharding, Sharding, TwoShards};
pub use signature::{Attached, Cost, KnownSignature, PastIncident, Recognition, Sign, SignatureId, Traits};
pub use time::Timestamp;
pub use topology::{Topology, TopologyFault};
