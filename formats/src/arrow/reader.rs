//! Rows of an open Arrow file, a table per record batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::MessageHeader;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use super::messages::{Messages, RawMessage, check_batch, invalid};
use crate::batch_rows::{OpenBatch, Rows};
use crate::error::{ErrorClass, FormatError};
use crate::panics::caught;
use crate::table::{Table, TableReader};

/// One open file.
pub(super) struct ArrowReader {
    messages: Messages,
    schema: SchemaRef,
    fields: Vec<FieldRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// A batch whose rows are not all handed out.
    open: Option<OpenBatch>,
}

impl ArrowReader {
    pub(super) fn new(messages: Messages, schema: Schema) -> Self {
        let fields = fields(&schema);
        Self { messages, schema: Arc::new(schema), fields, dictionaries: HashMap::new(), open: None }
    }

    fn next_batch(&mut self) -> Result<Option<OpenBatch>, FormatError> {
        while let Some(raw) = self.messages.next_message()? {
            if let Some(batch) = caught(|| self.decode(&raw))? {
                return Ok(Some(OpenBatch::new(batch)));
            }
        }
        Ok(None)
    }

    /// The batch of a message; `None` for a dictionary, which is kept.
    fn decode(&mut self, raw: &RawMessage) -> Result<Option<RecordBatch>, FormatError> {
        let message = raw.message()?;
        let body = Buffer::from(raw.body().clone());
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch =
                    message.header_as_record_batch().ok_or_else(|| invalid("Message without a batch"))?;
                check_batch(&batch, raw.body())?;
                let schema = Arc::clone(&self.schema);
                read_record_batch(&body, batch, schema, &self.dictionaries, None, &message.version())
                    .map(Some)
                    .map_err(arrow_error)
            }
            MessageHeader::DictionaryBatch => {
                let batch = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| invalid("Message without a dictionary"))?;
                let data = batch.data().ok_or_else(|| invalid("Dictionary without data"))?;
                check_batch(&data, raw.body())?;
                read_dictionary(&body, batch, &self.schema, &mut self.dictionaries, &message.version())
                    .map(|()| None)
                    .map_err(arrow_error)
            }
            other => Err(invalid(format!("Message not expected type: record batch, was: {other:?}"))),
        }
    }
}

impl TableReader for ArrowReader {
    fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        let mut batch = match self.open.take() {
            Some(batch) => batch,
            None => match self.next_batch()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let rows_left = batch.rows_left();
        let wanted = row_limit.min(rows_left);
        let mut rows = Rows::new(wanted);
        batch.move_rows(&mut rows)?;
        let rows = rows.rows;
        let is_cut_by_size = rows.len() < wanted;
        let row_count = if is_cut_by_size { rows.len() } else { rows_left };
        if is_cut_by_size {
            self.open = Some(batch);
        }
        Ok(Some(Table { fields: self.fields.clone(), rows, row_count }))
    }
}

/// The columns of a schema with their dictionaries decoded.
pub(super) fn fields(schema: &Schema) -> Vec<FieldRef> {
    schema.fields().iter().map(plain_field).collect()
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => {
            return plain_field(&Arc::new(field.as_ref().clone().with_data_type(value.as_ref().clone())));
        }
        DataType::Struct(members) => DataType::Struct(members.iter().map(plain_field).collect()),
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(plain_field(item), *len),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

fn arrow_error(error: ArrowError) -> FormatError {
    match error {
        ArrowError::NotYetImplemented(what) => FormatError::new(ErrorClass::ArrowNotImplementedError, what),
        ArrowError::InvalidArgumentError(what)
        | ArrowError::IpcError(what)
        | ArrowError::ParseError(what) => invalid(what),
        other => invalid(other.to_string()),
    }
}
