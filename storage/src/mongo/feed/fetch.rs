//! Documents by `_id`, in bounded batches, and their conversion to changes of the mirror.
//!
//! Owns what becomes of every document: a response that a reader can ask for is mirrored, one of a kind that no
//! endpoint of this version serves stays where it is, one that cannot be read is put in quarantine under its `_id` with
//! the reason. Reads see everything that the stream has told of, also at a member that has just become the primary.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Collection, Database};
use outpost_model::graph::STEPS;
use outpost_model::{ArtifactKey, DatasetName, limits};

use super::error::FeedError;
use super::stream::{Place, time_of};
use super::within;
use crate::mirror_store::{EntryPut, MirrorChange, MirrorWrite, Quarantined, SourceId};
use crate::mongo::documents::{dataset, response};
use crate::mongo::names;

/// Reads from the cache database in one causal order.
pub(super) struct Fetcher {
    responses: Collection<RawDocumentBuf>,
    datasets: Collection<RawDocumentBuf>,
    session: ClientSession,
}

/// A document as it was read.
pub(super) struct Fetched {
    pub(super) place: Place,
    pub(super) id: Bson,
    pub(super) raw: RawDocumentBuf,
}

impl Fetcher {
    pub(super) fn new(database: &Database, session: ClientSession) -> Self {
        let responses = database.collection(response::COLLECTION);
        Self { responses, datasets: database.collection(names::DATASETS), session }
    }

    /// Makes every later read see at least the state at `seq`.
    pub(super) fn see(&mut self, seq: u64) {
        self.session.advance_operation_time(time_of(seq));
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
        let collection = match place {
            Place::Responses => &self.responses,
            Place::Datasets => &self.datasets,
        };
        let session = &mut self.session;
        let call = async move {
            let mut find = collection.find(filter).sort(doc! {"_id": 1});
            if documents_max < i64::MAX {
                find = find.limit(documents_max);
            }
            let mut cursor = find.read_concern(ReadConcern::majority()).session(&mut *session).await?;
            let mut page = Page { found: Vec::new(), is_last: true };
            let mut bytes = 0;
            while cursor.advance(session).await? {
                let raw = cursor.current().to_owned();
                bytes += raw.as_bytes().len();
                if let Some(id) = raw.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok()) {
                    page.found.push(Fetched { place, id, raw });
                }
                if bytes >= bytes_max {
                    page.is_last = false;
                    break;
                }
            }
            page.is_last &= i64::try_from(page.found.len()).is_ok_and(|count| count < documents_max);
            Ok::<Page, mongodb::error::Error>(page)
        };
        within(limits::FEED_FETCH_MS_MAX, call).await?.map_err(|error| FeedError::Call(error.to_string()))
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
