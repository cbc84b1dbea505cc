//! `node rows`: a page of rows as a table.
//!
//! Owns the choice of config and split when none is named, the first that the node lists, and says which others there
//! are. Cells are JSON, texts without their quotes.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::connection::Connection;
use super::table::{Align, Table};
use super::{ClientError, parse, plain};

/// What rows are asked for.
pub(super) struct Wanted<'a> {
    pub(super) dataset: &'a str,
    pub(super) config: Option<&'a str>,
    pub(super) split: Option<&'a str>,
}

#[derive(Deserialize)]
struct Splits {
    splits: Vec<SplitItem>,
}

#[derive(Deserialize)]
struct SplitItem {
    config: String,
    split: String,
}

#[derive(Deserialize)]
struct RowsAnswer {
    features: Vec<FeatureItem>,
    rows: Vec<RowItem>,
    num_rows_total: Option<u64>,
}

#[derive(Deserialize)]
struct FeatureItem {
    name: String,
    #[serde(rename = "type")]
    kind: Value,
}

#[derive(Deserialize)]
struct RowItem {
    row_idx: u64,
    row: Map<String, Value>,
}

/// Asks for the rows and lays them out.
pub(super) async fn table(
    connection: &Connection,
    wanted: &Wanted<'_>,
    offset: u64,
    length: u64,
) -> Result<String, ClientError> {
    let (config, split, others) = match (wanted.config, wanted.split) {
        (Some(config), Some(split)) => (config.to_owned(), split.to_owned(), Vec::new()),
        _ => choose(connection, wanted).await?,
    };
    let (from, count) = (offset.to_string(), length.to_string());
    let query = [
        ("dataset", wanted.dataset),
        ("config", &config),
        ("split", &split),
        ("offset", &from),
        ("length", &count),
    ];
    let answer: RowsAnswer = parse(&connection.get("/rows", &query).await?)?;
    let mut page = plain(&format!("{}, config {config}, split {split}", wanted.dataset));
    if let Some(total) = answer.num_rows_total {
        page.push_str(&format!(", {total} rows"));
    }
    page.push('\n');
    page.push_str(&lay_out(&answer));
    if !others.is_empty() {
        page.push_str(&plain(&format!(
            "more splits, to be named with --config and --split: {}\n",
            others.join(", ")
        )));
    }
    Ok(page)
}

/// The first split that fits, and the others.
async fn choose(
    connection: &Connection,
    wanted: &Wanted<'_>,
) -> Result<(String, String, Vec<String>), ClientError> {
    let answer: Splits = parse(&connection.get("/splits", &[("dataset", wanted.dataset)]).await?)?;
    let fits = |item: &SplitItem| {
        wanted.config.is_none_or(|config| config == item.config)
            && wanted.split.is_none_or(|split| split == item.split)
    };
    let mut fitting = answer.splits.iter().filter(|item| fits(item));
    let Some(first) = fitting.next() else {
        let listed: Vec<String> = answer.splits.iter().map(SplitItem::shown).collect();
        let message = format!("{} has no such split; it has: {}", wanted.dataset, listed.join(", "));
        return Err(ClientError::Failed(plain(&message).replace('\n', " ")));
    };
    Ok((first.config.clone(), first.split.clone(), fitting.map(SplitItem::shown).collect()))
}

impl SplitItem {
    fn shown(&self) -> String {
        format!("{}/{}", self.config, self.split)
    }
}

fn lay_out(answer: &RowsAnswer) -> String {
    let header: Vec<(&str, Align)> = answer
        .features
        .iter()
        .map(|feature| {
            (feature.name.as_str(), if is_number(&feature.kind) { Align::Right } else { Align::Left })
        })
        .collect();
    let mut table = Table::new(&[vec![("row", Align::Right)], header].concat());
    for item in &answer.rows {
        let cells = answer.features.iter().map(|feature| cell(item.row.get(&feature.name)));
        table.push([item.row_idx.to_string()].into_iter().chain(cells));
    }
    if table.is_empty() { "no rows here\n".to_owned() } else { table.render() }
}

fn is_number(kind: &Value) -> bool {
    let dtype = kind.get("dtype").and_then(Value::as_str).unwrap_or_default();
    kind.get("_type").and_then(Value::as_str) == Some("Value")
        && ["int", "uint", "float"].iter().any(|prefix| dtype.starts_with(prefix))
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_table_with_numbers_to_the_right() {
        let answer = r#"{"features":[
            {"feature_idx":0,"name":"name","type":{"dtype":"string","_type":"Value"}},
            {"feature_idx":1,"name":"n","type":{"dtype":"int64","_type":"Value"}},
            {"feature_idx":2,"name":"list","type":{"feature":{"dtype":"int8","_type":"Value"},"_type":"List"}}],
            "rows":[{"row_idx":9,"row":{"name":"a b","n":5,"list":[1,2]},"truncated_cells":[]},
                    {"row_idx":10,"row":{"name":"c","n":1234},"truncated_cells":[]}],
            "num_rows_total":null,"num_rows_per_page":100,"partial":false}"#;
        let table = lay_out(&parse(answer).unwrap());
        assert_eq!(table, "row  name     n  list\n  9  a b      5  [1,2]\n 10  c     1234\n");
    }

    #[test]
    fn an_empty_page_says_so() {
        let answer = r#"{"features":[],"rows":[],"num_rows_total":0}"#;
        assert_eq!(lay_out(&parse(answer).unwrap()), "no rows here\n");
    }
}
