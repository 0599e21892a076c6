//! One JSON object as it comes from outside, whole: which field of it is wrong or missing is named.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::domain::Reject;

/// Why a text is not what it should be; the sentence is fit for who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Unread {
    pub field: Option<Cow<'static, str>>,
    pub sentence: String,
}

impl From<Reject> for Unread {
    fn from(reject: Reject) -> Self {
        Self {
            field: reject.field.map(Into::into),
            sentence: reject.message,
        }
    }
}

/// Reads a body; `what` is right there, for the sentence.
pub fn object<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Unread> {
    let wrong = |field: Option<String>, detail: &str| Unread {
        field: field.map(Into::into),
        sentence: format!("the body is no {what}: {detail}"),
    };
    // A list would be taken for the fields in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(None, "it is one JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner().to_string());
        let field = if path == "." {
            missing(&inner)
        } else {
            Some(path)
        };
        wrong(field, &inner)
    })?;
    let end = reader.end();
    end.map_err(|error| wrong(None, &error.to_string()))?;
    Ok(read)
}

/// The field that serde says is missing; it is on nobody's path.
fn missing(sentence: &str) -> Option<String> {
    let (_, rest) = sentence.split_once("missing field `")?;
    let (name, _) = rest.split_once('`')?;
    Some(name.to_owned())
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
            let unread = object::<Body>(body.as_bytes(), "name").unwrap_err();
            assert_eq!(unread.field.as_deref(), field, "{body}");
            assert!(unread.sentence.starts_with("the body is no name: "));
        }
    }
}
