//! A comparison of a result with the JSON schema that describes it.

use std::path::Path;

use serde_json::Value;

/// Returns all differences between a result and the schema with a name. The comparison knows the keywords that the schemas
/// use, and counts a property that the schema does not name as a difference.
pub(crate) fn mismatches(schema: &str, result: &Value) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(format!("{schema}.schema.json"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut found = Vec::new();
    compare(&schema, &schema, result, "", &mut found);
    found
}

/// Adds the differences between a value at a path and a part of the schema.
fn compare(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        compare(root, root.pointer(&reference[1..]).unwrap(), value, path, found);
    }
    let is_kind = |kind: &Value| match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("{path} has the unknown type {kind}"),
    };
    let kinds = &schema["type"];
    if !kinds.is_null() && !kinds.as_array().map_or_else(|| is_kind(kinds), |kinds| kinds.iter().any(is_kind)) {
        found.push(format!("{path} is none of the types"));
    }
    let matches = |choice: &Value| {
        let mut found = Vec::new();
        compare(root, choice, value, path, &mut found);
        found.is_empty()
    };
    let mut choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array());
    let is_constant = schema.get("const").is_none_or(|constant| constant == value);
    let is_listed = schema["enum"].as_array().is_none_or(|values| values.contains(value));
    if !(is_constant && is_listed && choices.all(|all| all.iter().any(matches))) {
        found.push(format!("{path} matches no choice"));
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        let of_item = schema["prefixItems"].get(at).unwrap_or(&schema["items"]);
        compare(root, of_item, item, &format!("{path}[{at}]"), found);
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        match properties.get(name) {
            Some(property) => compare(root, property, value, &format!("{path}.{name}"), found),
            None => found.push(format!("{path}.{name} is not in the schema")),
        }
    }
}
