//! Rows of a split: its media files, or the rows of its metadata files (dataset-loading.md section 1.10).
//!
//! Owns the way from file names in rows to addresses. Only as many rows are made as are asked for.

use std::sync::Arc;

use outpost_model::limits;

use super::analysis::{Role, member_address, members, role};
use super::{Plan, location, metadata};
use crate::encode::encode_example;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features, MediaKind};
use crate::module::SplitFiles;
use crate::value::Value;

type Row = Vec<(Arc<str>, Value)>;

pub(super) fn first_rows(
    plan: &Plan,
    files: &SplitFiles,
    split: usize,
    limit: usize,
) -> Result<Vec<Vec<Value>>, FormatError> {
    let rows = if plan.splits[split].adds_metadata {
        metadata_rows(plan, files, split, limit)?
    } else {
        media_rows(plan, files, split, limit)?
    };
    rows.into_iter().map(|row| encode_example(row, &plan.features)).collect()
}

/// A row per media file, then one per member of each archive, whatever it is.
fn media_rows(plan: &Plan, files: &SplitFiles, split: usize, limit: usize) -> Result<Vec<Row>, FormatError> {
    let row = |media: &str, labelled: &str| {
        let label = plan.splits[split].adds_labels.then(|| Value::str(&location::label(labelled)));
        let media = (Arc::from(plan.folder.column), Value::str(media));
        [media].into_iter().chain(label.map(|label| ("label".into(), label))).collect()
    };
    let mut rows = Vec::new();
    let mut archives = Vec::new();
    for (file, path) in files.splits[split].iter().enumerate() {
        if rows.len() >= limit {
            return Ok(rows);
        }
        match role(&plan.folder, path, &plan.options) {
            Role::Media | Role::PackedMedia => {
                let address = files.address(path);
                rows.push(row(&address, &address));
            }
            Role::Archive => archives.push((file, path)),
            Role::Metadata | Role::Other => {}
        }
    }
    for (file, path) in archives {
        if rows.len() >= limit {
            break;
        }
        let address = files.address(path);
        for member in members(files, split, file)?.iter().take(limit - rows.len()) {
            // The library labels members with the directory of their archive.
            rows.push(row(&member_address(member, &address), &address));
        }
    }
    Ok(rows)
}

/// The rows of the metadata files, with addresses for file names.
fn metadata_rows(
    plan: &Plan,
    files: &SplitFiles,
    split: usize,
    limit: usize,
) -> Result<Vec<Row>, FormatError> {
    let mut paths = Vec::new();
    find_media(&plan.features, plan.folder.media, &mut Vec::new(), &mut paths);
    let mut rows: Vec<Row> = Vec::new();
    for (address, metadata) in &plan.splits[split].metadata {
        if rows.len() >= limit {
            break;
        }
        let directory = location::parent(address);
        let file = metadata.open(files, split)?;
        let mut tables = metadata::Rows::open(&file, address, plan.declared.as_ref())?;
        while rows.len() < limit
            && let Some(table) = tables.next_table(limit - rows.len())?
        {
            if table.is_cut(limit - rows.len()) {
                let message = format!(
                    "the first rows of '{address}' have more than {} bytes; write shorter cells",
                    limits::TABLE_BYTES_MAX
                );
                return Err(FormatError::new(ErrorClass::LimitExceeded, message));
            }
            let names: Vec<Arc<str>> =
                table.fields.iter().map(|field| field.name().as_str().into()).collect();
            for cells in table.rows {
                let mut row: Row = names.iter().cloned().zip(cells).collect();
                for path in &paths {
                    set_in_members(&mut row, path, &directory)?;
                }
                rows.push(row);
            }
        }
    }
    rows.truncate(limit);
    Ok(rows)
}

/// A step from a feature to what is in it.
#[derive(Debug, Clone)]
enum Step {
    Member(Arc<str>),
    Items,
}

/// The ways to the media of a kind.
fn find_media(features: &Features, kind: MediaKind, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    for (name, feature) in &features.0 {
        path.push(Step::Member(name.clone()));
        find_nested_media(feature, kind, path, paths);
        path.pop();
    }
}

fn find_nested_media(feature: &Feature, kind: MediaKind, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    match feature {
        Feature::Media(media) if media.kind == kind => paths.push(path.clone()),
        Feature::Struct(members) => find_media(members, kind, path, paths),
        Feature::List { feature, .. } | Feature::LargeList { feature } => {
            path.push(Step::Items);
            find_nested_media(feature, kind, path, paths);
            path.pop();
        }
        _ => {}
    }
}

/// Puts the addresses of named files where the path leads; what is null on the way stays so.
fn set(value: &mut Value, path: &[Step], directory: &str) -> Result<(), FormatError> {
    match (path, value) {
        (_, Value::Null) => Ok(()),
        ([], Value::Str(name)) => {
            *name = location::named(directory, name)?.into();
            Ok(())
        }
        ([Step::Member(_), ..], Value::Struct(members)) => set_in_members(members, path, directory),
        ([Step::Items, rest @ ..], Value::List(items)) => {
            items.iter_mut().try_for_each(|item| set(item, rest, directory))
        }
        _ => {
            let message = "expected str, bytes or os.PathLike object where a metadata file names a file";
            Err(FormatError::new(ErrorClass::TypeError, message))
        }
    }
}

fn set_in_members(members: &mut Row, path: &[Step], directory: &str) -> Result<(), FormatError> {
    let [Step::Member(name), rest @ ..] = path else { return Ok(()) };
    let suffix = match rest {
        [] => Some("file_name"),
        [Step::Items] => Some("file_names"),
        _ => None,
    };
    if let Some(suffix) = suffix {
        let own = take(members, suffix).filter(is_truthy);
        let value = own.or_else(|| take(members, &format!("{name}_{suffix}"))).unwrap_or_default();
        take(members, name);
        members.push((name.clone(), value));
    }
    match members.iter_mut().find(|(member, _)| member == name) {
        Some((_, value)) => set(value, rest, directory),
        None => Ok(()),
    }
}

fn take(members: &mut Row, name: &str) -> Option<Value> {
    let place = members.iter().position(|(member, _)| &**member == name)?;
    Some(members.remove(place).1)
}

/// Whether Python's `or` keeps the value.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Str(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        _ => true,
    }
}
