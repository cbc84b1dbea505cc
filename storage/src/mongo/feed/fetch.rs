//! Documents by `_id`, in bounded batches, and their conversion to changes of the mirror.
//!
//! Owns what becomes of every document: a response that a reader can ask for is mirrored, one of a kind that no
//! endpoint of this version serves stays where it is, one that cannot be read is put in quarantine under its `_id` with
//! the reason. Reads see the state at the time that the stream has told of, neither more nor less, so that two nodes that
//! follow the same database have the same at the same position. Where the server no longer has that state, as after
//! minutes without it, they see a later one and say how late.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Collection, Database};
use outpost_model::graph::STEPS;
use outpost_model::{ArtifactKey, DatasetName, limits};

use super::error::FeedError;
use super::stream::{Place, seq_of, time_of};
use super::within;
use crate::mirror_store::{EntryPut, MirrorChange, MirrorWrite, Quarantined, SourceId};
use crate::mongo::documents::{dataset, response};
use crate::mongo::errors::code;
use crate::mongo::names;

/// Codes by which a server says that it does not keep a state that long.
const SNAPSHOT_GONE: [i32; 2] = [239, 246];

/// Reads from the cache database.
pub(super) struct Fetcher {
    database: Database,
    /// For reads of the latest state, in one causal order.
    session: ClientSession,
    /// The state to see; 0 for the latest.
    at: u64,
    /// The latest state that was seen.
    seen: u64,
}

/// A document as it was read.
pub(super) struct Fetched {
    pub(super) place: Place,
    pub(super) id: Bson,
    pub(super) raw: RawDocumentBuf,
}

impl Fetcher {
    pub(super) fn new(database: &Database, session: ClientSession) -> Self {
        Self { database: database.clone(), session, at: 0, seen: 0 }
    }

    /// Makes every later read see the state at `seq`.
    pub(super) fn see(&mut self, seq: u64) {
        self.at = seq;
        self.session.advance_operation_time(time_of(seq));
    }

    /// What was read holds nothing later than this.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Documents of `ids`: as many as a batch may hold. Those not found are missing once the page is the last.
    pub(super) async fn by_id(&mut self, place: Place, ids: &[Bson]) -> Result<Page, FeedError> {
        let mut filter = doc! {"_id": {"$in": ids}};
        if place == Place::Responses {
            filter.insert("kind", doc! {"$in": kinds()});
        }
        self.find(place, filter, i64::MAX, limits::FEED_FETCH_BYTES_MAX).await
    }

    /// The document of a key.
    pub(super) async fn by_key(&mut self, key: &ArtifactKey) -> Result<Option<Fetched>, FeedError> {
        let page = self.find(Place::Responses, response::filter(key), 1, usize::MAX).await?;
        Ok(page.found.into_iter().next())
    }

    /// Documents after `after`, in the order of their `_id`s: as many as a batch may hold.
    pub(super) async fn after(&mut self, place: Place, after: Bson) -> Result<Page, FeedError> {
        let mut filter = doc! {"_id": {"$gt": after}};
        if place == Place::Responses {
            filter.insert("kind", doc! {"$in": kinds()});
        }
        self.find(place, filter, limits::FEED_SCAN_DOCUMENTS_MAX, limits::FEED_FETCH_BYTES_MAX).await
    }

    async fn find(
        &mut self,
        place: Place,
        filter: Document,
        documents_max: i64,
        bytes_max: usize,
    ) -> Result<Page, FeedError> {
        let wanted = Wanted { place, filter, documents_max, bytes_max };
        if self.at > 0 {
            let database = self.database.clone();
            match within(limits::FEED_FETCH_MS_MAX, wanted.find_at(&database, self.at)).await? {
                Ok(page) => {
                    self.seen = self.seen.max(self.at);
                    return Ok(page);
                }
                Err(error) if code(&error).is_some_and(|code| SNAPSHOT_GONE.contains(&code)) => {
                    tracing::info!(%error, "the database no longer has the state of then; reading a later one");
                }
                Err(error) => return Err(FeedError::Call(error.to_string())),
            }
        }
        let latest = wanted.find_latest(&self.database, &mut self.session);
        let page = within(limits::FEED_FETCH_MS_MAX, latest).await?;
        let page = page.map_err(|error| FeedError::Call(error.to_string()))?;
        self.seen = self.seen.max(self.session.operation_time().map_or(0, seq_of));
        Ok(page)
    }
}

/// A read of documents in the order of their `_id`s.
struct Wanted {
    place: Place,
    filter: Document,
    documents_max: i64,
    bytes_max: usize,
}

impl Wanted {
    fn collection(&self) -> &'static str {
        match self.place {
            Place::Responses => response::COLLECTION,
            Place::Datasets => names::DATASETS,
        }
    }

    /// From the state at `seq`.
    async fn find_at(&self, database: &Database, seq: u64) -> Result<Page, mongodb::error::Error> {
        let mut command = doc! {
            "find": self.collection(),
            "filter": self.filter.clone(),
            "sort": {"_id": 1},
            "readConcern": {"level": "snapshot", "atClusterTime": time_of(seq)},
        };
        if self.documents_max < i64::MAX {
            command.insert("limit", self.documents_max);
        }
        let mut cursor = database.run_cursor_command(command).await?;
        let mut filling = Filling::new(self);
        while !filling.is_full() && cursor.advance().await? {
            filling.push(cursor.current());
        }
        Ok(filling.page())
    }

    /// From the latest state that a majority has.
    async fn find_latest(
        &self,
        database: &Database,
        session: &mut ClientSession,
    ) -> Result<Page, mongodb::error::Error> {
        let collection: Collection<RawDocumentBuf> = database.collection(self.collection());
        let mut find = collection.find(self.filter.clone()).sort(doc! {"_id": 1});
        if self.documents_max < i64::MAX {
            find = find.limit(self.documents_max);
        }
        let mut cursor = find.read_concern(ReadConcern::majority()).session(&mut *session).await?;
        let mut filling = Filling::new(self);
        while !filling.is_full() && cursor.advance(session).await? {
            filling.push(cursor.current());
        }
        Ok(filling.page())
    }
}

/// A page being read.
struct Filling<'a> {
    wanted: &'a Wanted,
    found: Vec<Fetched>,
    bytes: usize,
}

impl<'a> Filling<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self { wanted, found: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.wanted.bytes_max
    }

    fn push(&mut self, raw: &RawDocument) {
        self.bytes += raw.as_bytes().len();
        if let Some(id) = raw.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok()) {
            self.found.push(Fetched { place: self.wanted.place, id, raw: raw.to_owned() });
        }
    }

    fn page(self) -> Page {
        let is_short = i64::try_from(self.found.len()).is_ok_and(|count| count < self.wanted.documents_max);
        Page { is_last: !self.is_full() && is_short, found: self.found }
    }
}

/// Documents in order.
pub(super) struct Page {
    pub(super) found: Vec<Fetched>,
    /// Whether there are none after these.
    pub(super) is_last: bool,
}

/// Names of the steps whose responses are mirrored: those that an endpoint of this version may ask for.
fn kinds() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.kind.as_str()).collect()
}

/// How the mirror calls a document. `_id`s of responses keep their order.
pub(super) fn source(place: Place, id: &Bson) -> SourceId {
    match (place, id) {
        (Place::Responses, Bson::ObjectId(id)) => [b"o", &id.bytes()[..]].concat(),
        (Place::Datasets, Bson::String(name)) => [b"d", name.as_bytes()].concat(),
        // Nobody writes such an `_id`; it is only ever counted.
        (_, other) => {
            [b"x", blake3::hash(format!("{place:?} {other:?}").as_bytes()).as_bytes().as_slice()].concat()
        }
    }
}

/// The `_id` of a mirrored response.
pub(super) fn id_of_source(source: &[u8]) -> Option<ObjectId> {
    let bytes: [u8; 12] = source.strip_prefix(b"o")?.try_into().ok()?;
    Some(ObjectId::from_bytes(bytes))
}

/// What a document that was read means for the mirror. Costs the rendering and packing of a response.
pub(super) fn convert(fetched: &Fetched, seq: u64, changes: &mut Vec<MirrorChange>) {
    let source = source(fetched.place, &fetched.id);
    let converted = match (fetched.place, &fetched.id) {
        (Place::Responses, Bson::ObjectId(_)) => convert_response(&fetched.raw, &source),
        (Place::Responses, other) => Err(format!("its _id is a {:?}, not an ObjectId", other.element_type())),
        (Place::Datasets, _) => convert_dataset(&fetched.raw),
    };
    let write = match converted {
        Ok(write) => {
            if fetched.place == Place::Datasets {
                // In case that it could not be read before.
                changes.push(MirrorChange { seq, write: MirrorWrite::DeleteSource(source) });
            }
            write
        }
        Err(why) => {
            let quarantined = quarantined(fetched, source, &why);
            tracing::warn!(what = %quarantined.what, why = %quarantined.why, "a document cannot be mirrored");
            if let (Place::Datasets, Some(name)) = (fetched.place, dataset_name(&fetched.id)) {
                changes.push(MirrorChange { seq, write: MirrorWrite::DeleteDataset(name) });
            }
            MirrorWrite::Quarantine(quarantined)
        }
    };
    changes.push(MirrorChange { seq, write });
}

fn convert_response(raw: &RawDocument, source: &SourceId) -> Result<MirrorWrite, String> {
    let entry = response::read_entry(raw).map_err(|misfit| misfit.to_string())?;
    let bytes = entry.body.len();
    if bytes > limits::CONTENT_BYTES_MAX {
        return Err(format!(
            "its content has {bytes} bytes as JSON, more than {}",
            limits::CONTENT_BYTES_MAX
        ));
    }
    let put = EntryPut::new(&entry, Some(source.clone())).map_err(|error| error.to_string())?;
    Ok(MirrorWrite::PutEntry(Box::new(put)))
}

fn convert_dataset(raw: &RawDocument) -> Result<MirrorWrite, String> {
    let document = Document::try_from(raw).map_err(|error| error.to_string())?;
    match dataset::read(&document).map_err(|misfit| misfit.to_string())? {
        Some(record) => Ok(MirrorWrite::PutDataset(record)),
        // A guard without a record.
        None => {
            let name = document.get_str("_id").ok().and_then(|name| DatasetName::new(name).ok());
            name.map(MirrorWrite::DeleteDataset).ok_or_else(|| "its _id is no dataset name".to_owned())
        }
    }
}

/// What the deletion of a document means for the mirror.
pub(super) fn deletion(place: Place, id: &Bson, seq: u64, changes: &mut Vec<MirrorChange>) {
    if let (Place::Datasets, Some(name)) = (place, dataset_name(id)) {
        changes.push(MirrorChange { seq, write: MirrorWrite::DeleteDataset(name) });
    }
    changes.push(MirrorChange { seq, write: MirrorWrite::DeleteSource(source(place, id)) });
}

fn dataset_name(id: &Bson) -> Option<DatasetName> {
    DatasetName::new(id.as_str()?).ok()
}

fn quarantined(fetched: &Fetched, source: SourceId, why: &str) -> Quarantined {
    let part = |name: &str| fetched.raw.get_str(name).ok().map(shortened);
    let collection = match fetched.place {
        Place::Responses => response::COLLECTION,
        Place::Datasets => names::DATASETS,
    };
    let mut what = format!("{collection} _id {}", shortened(&fetched.id.to_string()));
    for name in ["kind", "dataset", "config", "split"] {
        if let Some(value) = part(name) {
            what.push_str(&format!(", {name} {value:?}"));
        }
    }
    let why = format!(
        "{}; it is read again when it changes: refresh the dataset or correct the document",
        shortened(why)
    );
    Quarantined { source, what, why }
}

fn shortened(text: &str) -> String {
    text.chars().take(limits::QUARANTINE_TEXT_CHARS_MAX).collect()
}
