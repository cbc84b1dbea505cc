//! The two spellings of feature type names: `ClassLabel` in JSON, `class_label` in READMEs.
//!
//! Owns the conversions (dataset-loading.md section 3.5). They are not exact inverses: `array2d` is `Array2d`, only
//! `array2_d` is `Array2D`. Nothing here fails.

/// `ClassLabel` as `class_label`.
#[must_use]
pub fn camelcase_to_snakecase(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, &letter) in letters.iter().enumerate() {
        let upper = letter.is_ascii_uppercase();
        let previous = index.checked_sub(1).and_then(|index| letters.get(index)).copied();
        let next = letters.get(index + 1).copied();
        let starts_word = match previous {
            Some(previous) if previous.is_ascii_uppercase() => {
                next.is_some_and(|next| next.is_ascii_lowercase())
            }
            Some(previous) => previous.is_ascii_lowercase() || previous.is_ascii_digit(),
            None => false,
        };
        if upper && starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// `class_label` as `ClassLabel`: single underscores separate words, longer runs of them stay.
#[must_use]
pub fn snakecase_to_camelcase(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut underscores = 0_usize;
    let mut at_start = true;
    for letter in name.chars() {
        if letter == '_' {
            underscores += 1;
            continue;
        }
        if underscores > 0 {
            push_run(underscores, &mut camel);
            underscores = 0;
            at_start = true;
        }
        if at_start {
            camel.extend(letter.to_uppercase());
        } else {
            camel.extend(letter.to_lowercase());
        }
        at_start = false;
    }
    push_run(underscores, &mut camel);
    camel
}

fn push_run(underscores: usize, camel: &mut String) {
    if underscores > 1 {
        camel.extend(std::iter::repeat_n('_', underscores));
    }
}
