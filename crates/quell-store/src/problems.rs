//! What every store promises of problems: a part of the contract, with files of its own.
//!
//! Absent on purpose: writing them; they are effects, and travel with every commit.

use quell_domain::{
    CiId, IncidentId, KnownSignature, Outage, Problem, ProblemEntry, ProblemId, ProblemState, Recognition, Shard,
    SignatureId, Timestamp,
};

use crate::contract::{Answer, Page};

/// Which problems to list; newest first (by number, descending).
#[derive(Clone, Debug, Default)]
pub struct ProblemQuery {
    /// Only those in one of these states; all when empty.
    pub states: Vec<ProblemState>,
    /// Only those before this one in the order of the list.
    pub before: Option<ProblemId>,
    /// At most so many.
    pub limit: u32,
}

/// Which recognitions to list; newest first (by incident, descending).
#[derive(Clone, Debug, Default)]
pub struct RecognisedQuery {
    /// Only incidents of these signatures.
    pub signatures: Option<Vec<SignatureId>>,
    /// Only those with this probable cause.
    pub cause: Option<CiId>,
    /// Only those that are over, or only those that are not.
    pub over: Option<bool>,
    /// Only those before this one in the order of the list.
    pub before: Option<IncidentId>,
    /// At most so many.
    pub limit: u32,
}

/// A problem with all that belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub struct ProblemDetail {
    /// The problem.
    pub problem: Problem,
    /// Its timeline, oldest first.
    pub timeline: Vec<ProblemEntry>,
    /// Its signatures and those that were merged into them, by number.
    pub signatures: Vec<KnownSignature>,
    /// How many notices of its incidents were delivered.
    pub told: u64,
    /// Who worked on its last incidents, at most [`INVOLVED`] pairs, the last incident first.
    pub involved: Vec<Involved>,
}

/// Pairs of a person and an incident that a problem's detail holds.
pub const INVOLVED: u32 = 10_000;

/// Somebody who did something about an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Involved {
    /// Which.
    pub incident: IncidentId,
    /// Who, as they signed.
    pub person: String,
    /// When they first did.
    pub since: Timestamp,
}

/// An entry of a problem's timeline that one sink has not taken yet.
#[derive(Clone, PartialEq, Debug)]
pub struct ProblemDelivery {
    /// Its identity at the sink: the same at every attempt.
    pub id: String,
    /// What to tell.
    pub entry: ProblemEntry,
    /// Attempts made so far.
    pub attempts: u32,
}

/// What a store tells of problems.
pub trait ProblemStore: Send + Sync + 'static {
    /// A part of the list of problems.
    fn problems(&self, shard: Shard, query: ProblemQuery) -> Answer<'_, Page<Problem, ProblemId>>;

    /// One problem with what belongs to it.
    fn problem(&self, shard: Shard, id: ProblemId) -> Answer<'_, Option<ProblemDetail>>;

    /// One signature, let go of or not.
    fn signature(&self, shard: Shard, id: SignatureId) -> Answer<'_, Option<KnownSignature>>;

    /// A part of the list of signatures, newest first (by number, descending).
    fn signatures(
        &self,
        shard: Shard,
        before: Option<SignatureId>,
        limit: u32,
    ) -> Answer<'_, Page<KnownSignature, SignatureId>>;

    /// What an incident was taken for.
    fn recognition(&self, shard: Shard, incident: IncidentId) -> Answer<'_, Option<Recognition>>;

    /// What incidents were taken for.
    fn recognised(&self, shard: Shard, query: RecognisedQuery) -> Answer<'_, Vec<Recognition>>;

    /// When the first incident that is remembered here was opened.
    fn recognised_since(&self, shard: Shard) -> Answer<'_, Option<Timestamp>>;

    /// Times in which nothing could be received that ended after that instant, by when they began.
    fn outages(&self, shard: Shard, after: Timestamp) -> Answer<'_, Vec<Outage>>;

    /// What a sink is to be told of problems, as [`crate::Store::due`] gives it of incidents; it is delivered and failed
    /// by its id in the same way.
    fn problems_due<'a>(
        &'a self,
        shard: Shard,
        sink: &'a str,
        now: Timestamp,
        limit: u32,
    ) -> Answer<'a, Vec<ProblemDelivery>>;
}
