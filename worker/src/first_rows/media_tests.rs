//! First rows of columns that hold media: what is cut, what is stored, what is refused.

use image::{DynamicImage, ImageFormat};
use outpost_formats::{Feature, Features, MediaKind, Value};

use super::*;
use crate::media::tests::{Rig, file, of, stored};

const ADDRESS: SplitAddress<'static> = SplitAddress { dataset: "u/d", config: "c", split: "s" };

fn limits(bytes_max: usize) -> FirstRowsLimits {
    FirstRowsLimits { bytes_max, cell_bytes_min: 100, rows_min: 1, columns_max: 3 }
}

/// Rows of one column `x`.
fn head(feature: &Feature, values: Vec<Value>) -> SplitHead {
    let rows = values.into_iter().map(|value| vec![("x".into(), value)]).collect();
    SplitHead { features: Features(vec![("x".into(), feature.clone())]), rows, exhausted: true }
}

fn png() -> Value {
    stored(&file(&DynamicImage::new_rgb8(5, 3), ImageFormat::Png), Some("a.png"))
}

fn cell(row_idx: usize, name: &str) -> String {
    let place = "{node_public_url}/assets/u/d/--/{dataset_git_revision}/--/c/s";
    format!(r#"{{"src":"{place}/{row_idx}/x/{name}","height":3,"width":5}}"#)
}

#[test]
fn media_columns_are_never_cut_and_nested_ones_are() {
    let rig = Rig::new(&[]);
    let rows_of = |feature: &Feature, value: Value| {
        let open = assemble(ADDRESS, &head(feature, Vec::new()), &limits(10_000), Some(&rig.step())).unwrap();
        let body = assemble(ADDRESS, &head(feature, vec![value]), &limits(open.len()), Some(&rig.step()));
        let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
        body["rows"].to_string()
    };
    let whole = rows_of(&of(MediaKind::Image), png());
    assert_eq!(
        whole,
        format!(r#"[{{"row_idx":0,"row":{{"x":{}}},"truncated_cells":[]}}]"#, cell(0, "image.jpg"))
    );
    let nested = rows_of(&Feature::list(of(MediaKind::Image)), Value::List(vec![png()]));
    assert!(nested.ends_with(r#""truncated_cells":["x"]}]"#), "{nested}");
}

#[test]
fn the_assets_of_rows_that_are_dropped_are_stored_too() {
    let rig = Rig::new(&[]);
    let images = head(&of(MediaKind::Image), vec![png(), Value::Null, png()]);
    let body = assemble(ADDRESS, &images, &limits(400), Some(&rig.step())).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["rows"].as_array().unwrap().len(), 2, "{body}");
    assert_eq!(body["truncated"], true);
    let paths = ["0", "2"].map(|row_idx| format!("u/d/--/abc/--/c/s/{row_idx}/x/image.jpg"));
    assert_eq!(rig.assets.paths(), paths);
}

#[test]
fn a_bad_image_refuses_the_split_and_names_its_column() {
    let rig = Rig::new(&[]);
    let images = head(&of(MediaKind::Image), vec![png(), stored(b"<svg/>", None)]);
    let error = assemble(ADDRESS, &images, &limits(10_000), Some(&rig.step())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RowsPostProcessingError);
    assert!(error.to_string().starts_with("The column 'x' cannot be shown: it holds an image"), "{error}");
    assert_eq!(rig.assets.paths(), Vec::<String>::new(), "nothing was committed");
}

#[test]
fn rows_stay_in_order_and_the_first_bad_one_counts_although_threads_make_them() {
    let rig = Rig::new(&[]);
    let sides: Vec<u32> = (0..40).map(|row| 1 + row * 37 % 300).collect();
    let image = |side: &u32| stored(&file(&DynamicImage::new_rgb8(*side, 2), ImageFormat::Png), None);
    let values: Vec<Value> = sides.iter().map(image).collect();
    let body =
        assemble(ADDRESS, &head(&of(MediaKind::Image), values.clone()), &limits(100_000), Some(&rig.step()));
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
    let shown = body["rows"].as_array().unwrap().iter().map(|row| row["row"]["x"]["width"].as_u64().unwrap());
    assert_eq!(shown.collect::<Vec<_>>(), sides.iter().map(|side| u64::from(*side)).collect::<Vec<_>>());

    for _ in 0..20 {
        let mut values = values.clone();
        values[17] = stored(b"\x89PNG\r\n\x1a\n", None);
        for bad in &mut values[18..] {
            *bad = stored(b"<svg/>", None);
        }
        let images = head(&of(MediaKind::Image), values);
        let error = assemble(ADDRESS, &images, &limits(100_000), Some(&rig.step())).unwrap_err();
        assert!(error.to_string().contains("its image cannot be read"), "{error}");
    }
}

#[test]
fn a_store_that_fails_is_trouble_that_may_pass() {
    let error = FirstRowsError::media("x", AssetError("disk full".into()).into());
    assert!(matches!(&error, FirstRowsError::MayPass { .. }) && error.to_string().contains("disk full"));
}

#[test]
fn media_without_a_form_for_readers_are_refused_everywhere() {
    for kind in [MediaKind::Mesh, MediaKind::Nifti] {
        let features = Features(vec![("x".into(), Feature::list(of(kind)))]);
        let error = check_columns(&features, &limits(1_000), MediaSupport::Assets).unwrap_err();
        assert!(error.to_string().contains(&format!("{kind:?}")), "{error}");
    }
    let image = Features(vec![("x".into(), of(MediaKind::Image))]);
    assert_eq!(check_columns(&image, &limits(1_000), MediaSupport::Assets), Ok(()));
}
