//! Bodies: one JSON object, whose wrong or missing field is named.

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use crate::domain::Reject;
use crate::http::Problem;

/// Reads a body; `what` is right there, for the sentence.
pub(super) fn object<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Problem> {
    let wrong = |field: Option<String>, detail: String| Problem {
        field: field.map(Into::into),
        ..Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_field",
            format!("the body is no {what}: {detail}"),
        )
    };
    // A list would be taken for the fields in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(None, "it is one JSON object".to_owned()));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner().to_string());
        let field = if path == "." {
            missing(&inner)
        } else {
            Some(path)
        };
        wrong(field, inner)
    })?;
    reader
        .end()
        .map_err(|error| wrong(None, error.to_string()))?;
    Ok(read)
}

/// The field that serde says is missing; it is on nobody's path.
fn missing(sentence: &str) -> Option<String> {
    let (_, rest) = sentence.split_once("missing field `")?;
    let (name, _) = rest.split_once('`')?;
    Some(name.to_owned())
}

/// What the domain refuses.
pub(super) fn refused(reject: Reject) -> Problem {
    Problem {
        field: reject.field.map(Into::into),
        ..Problem::new(
            StatusCode::BAD_REQUEST,
            reject.code.as_str(),
            reject.message,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_and_a_missing_one_too() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Body {
            name: String,
            #[serde(default)]
            inner: Vec<u8>,
        }
        for (body, field) in [
            (r#"{"inner":[]}"#, Some("name")),
            (r#"{"name":7}"#, Some("name")),
            (r#"{"name":"x","inner":[1,"y"]}"#, Some("inner[1]")),
            (r#"["x"]"#, None),
            (r#"{"name":"x"} more"#, None),
            ("", None),
        ] {
            let problem = object::<Body>(body.as_bytes(), "name").unwrap_err();
            assert_eq!(problem.field.as_deref(), field, "{body}");
            assert_eq!(problem.code, "bad_field");
        }
    }
}
