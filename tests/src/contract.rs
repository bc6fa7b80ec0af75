//! The JSON that scripts rely on, as tables of fields.

use serde_json::Value;

/// Fields and their kinds: `("memory.capacity", "whole")`. Kinds are `text`, `whole` (a number
/// without a fraction), `decimal`, `flag`, `list` and `object`; a `?` behind them allows null.
pub type Shape<'a> = &'a [(&'a str, &'a str)];

/// Panics unless `value` has every field of `shape`. More fields are fine: a contract grows.
#[track_caller]
pub fn check_shape(what: &str, value: &Value, shape: Shape<'_>) {
    let wrong = misshapen(value, shape);
    assert!(wrong.is_empty(), "{what}: {}\nin {value:#}", wrong.join(", "));
}

fn misshapen(value: &Value, shape: Shape<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, kind) in shape {
        let pointer = format!("/{}", path.replace('.', "/"));
        match value.pointer(&pointer) {
            None => wrong.push(format!("`{path}` is missing")),
            Some(found) if !is_kind(found, kind) => {
                wrong.push(format!("`{path}` is {found}, which is not {kind}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind.strip_suffix('?') {
        Some(kind) => value.is_null() || is_kind(value, kind),
        None => match kind {
            "text" => value.is_string(),
            "whole" => value.is_u64(),
            "decimal" => value.is_number(),
            "flag" => value.is_boolean(),
            "list" => value.is_array(),
            "object" => value.is_object(),
            _ => panic!("{kind} is no kind of field"),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, field: (&str, &str), wrong: bool) {
        assert_eq!(!misshapen(value, &[field]).is_empty(), wrong, "{value} {field:?}");
    }

    #[test]
    fn a_field_of_the_right_kind_passes() {
        check(&json!({"a": {"b": 1}}), ("a.b", "whole"), false);
        check(&json!({"a": null}), ("a", "text?"), false);
        check(&json!({"a": 1.5}), ("a", "decimal"), false);
    }

    #[test]
    fn a_missing_field_or_another_kind_is_found() {
        check(&json!({"a": {}}), ("a.b", "whole"), true);
        check(&json!({}), ("a", "text?"), true);
        check(&json!({"a": null}), ("a", "text"), true);
        check(&json!({"a": "1"}), ("a", "whole"), true);
        check(&json!({"a": 1.5}), ("a", "whole"), true);
    }
}
