use axum::http::{HeaderMap, header};
use store::IfMatch;

use super::problem::Problem;

/// What a change expects to find (RFC 9110, sections 13.1.1 and 13.1.2): one entity tag, or `*`.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(IfMatch::Always),
        (None, Some(tag)) if tag == "*" => Ok(IfMatch::Absent),
        (Some(tag), None) if tag == "*" => Ok(IfMatch::Present),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
            version
                .map(IfMatch::Version)
                .ok_or_else(|| Problem::bad("If-Match", &tag, "must be one ETag of ours, or *"))
        }
        (_, Some(tag)) => Err(Problem::bad("If-None-Match", &tag, "must be *, and stand alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_read_as_the_standard_writes_them() {
        let of = |pairs: &[(header::HeaderName, &str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            if_match(&headers).ok()
        };
        assert_eq!(of(&[]), Some(IfMatch::Always));
        assert_eq!(of(&[(header::IF_MATCH, "*")]), Some(IfMatch::Present));
        assert_eq!(of(&[(header::IF_MATCH, "\"7\"")]), Some(IfMatch::Version(7)));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), Some(IfMatch::Absent));
        for bad in ["7", "\"x\"", "W/\"7\"", "\"7\", \"8\""] {
            assert_eq!(of(&[(header::IF_MATCH, bad)]), None, "{bad}");
        }
    }
}
