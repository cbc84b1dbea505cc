//! How Python prints a list of texts, for messages that users of `datasets` know. Nothing here fails.

use outpost_formats::features::repr::quoted;

/// `repr` of a list of texts.
#[must_use]
pub fn repr_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}
