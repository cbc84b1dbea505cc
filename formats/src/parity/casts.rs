//! The table of casts.

use super::{arrow_types, check_outcome, check_rows, table, values};
use crate::cast::cast_column;
use crate::features::Feature;
use crate::features::type_text::field_type_text;

#[test]
fn casts_give_the_values_and_errors_of_the_original() {
    let mut rows = table("casts");
    for row in super::cases()["tables"]["casts"].as_array().unwrap() {
        if !rows.contains(row) {
            rows.push(row.clone());
        }
    }
    check_rows(&rows, &[], |row| {
        let field = arrow_types::field("col", row["from"].as_str().unwrap());
        let column = values::column(&row["values"], field.data_type());
        let feature = Feature::from_json(&row["to"]).unwrap();
        check_outcome(row, cast_column(column, &field, &feature), |cast| {
            let to = feature.to_arrow("col").unwrap();
            if row["arrow"] != *field_type_text(&to) {
                return Err(format!("the type is {}", field_type_text(&to)));
            }
            let expected = values::column(&row["out"], to.data_type());
            // Compared as text, which says that two NaN are equal.
            if format!("{cast:?}") == format!("{expected:?}") {
                Ok(())
            } else {
                Err(format!("we have {cast:?}"))
            }
        })
    });
}
