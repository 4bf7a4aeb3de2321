use axum::http::Method;

use super::Action;

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Known(Action),
    /// The path is there and takes other methods.
    UnknownMethod,
    UnknownPath,
}

/// Every operation of the server, gRPC included. A test compares it with the OpenAPI document and the gRPC descriptors;
/// the rest (documents, page, health) stands here by hand.
pub(super) const OPERATIONS: &[(&str, &str, Action)] = &[
    ("GET", "/", Action::Open),
    ("GET", "/page.css", Action::Open),
    ("GET", "/page.js", Action::Open),
    ("GET", "/events.js", Action::Open),
    ("GET", "/zones.js", Action::Open),
    ("GET", "/words.js", Action::Open),
    ("GET", "/openapi.json", Action::Open),
    ("GET", "/healthz", Action::Open),
    ("GET", "/readyz", Action::Open),
    ("GET", "/metrics", Action::Operate),
    ("GET", "/v1/stats", Action::Operate),
    ("GET", "/v1/gaps", Action::Operate),
    ("GET", "/v1/gateways", Action::Operate),
    ("GET", "/v1/nearest", Action::Look),
    ("POST", "/v1/within", Action::Look),
    ("GET", "/v1/units", Action::Look),
    ("GET", "/v1/units/{unit}", Action::Look),
    ("GET", "/v1/emergencies", Action::Look),
    ("POST", "/v1/emergencies/{emergency}/seen", Action::Direct),
    ("POST", "/v1/emergencies/{emergency}/cleared", Action::Direct),
    ("GET", "/v1/events", Action::Look),
    ("GET", "/v1/events/listeners", Action::Operate),
    ("GET", "/v1/standing", Action::Direct),
    ("POST", "/v1/standing", Action::Direct),
    ("GET", "/v1/standing/{standing}", Action::Direct),
    ("DELETE", "/v1/standing/{standing}", Action::Direct),
    ("GET", "/v1/organisations", Action::Look),
    ("GET", "/v1/organisations/{organisation}", Action::Look),
    ("PUT", "/v1/organisations/{organisation}", Action::Enrol),
    ("DELETE", "/v1/organisations/{organisation}", Action::Enrol),
    ("PUT", "/v1/organisations/{organisation}/command", Action::Enrol),
    ("GET", "/v1/zones", Action::Look),
    ("GET", "/v1/zones/strength", Action::Look),
    ("POST", "/v1/zones/draft", Action::Look),
    ("GET", "/v1/zones/{zone}", Action::Look),
    ("PUT", "/v1/zones/{zone}", Action::Enrol),
    ("DELETE", "/v1/zones/{zone}", Action::Enrol),
    ("GET", "/v1/zones/{zone}/units", Action::Look),
    ("GET", "/v1/zones/{zone}/strength", Action::Look),
    ("PUT", "/v1/units/{unit}", Action::Enrol),
    ("DELETE", "/v1/units/{unit}", Action::Enrol),
    ("PUT", "/v1/units/{unit}/status", Action::Direct),
    ("PUT", "/v1/units/{unit}/assignment", Action::Direct),
    ("GET", "/v1/webhooks", Action::Enrol),
    ("PUT", "/v1/webhooks/{webhook}", Action::Enrol),
    ("GET", "/v1/webhooks/{webhook}", Action::Enrol),
    ("GET", "/v1/webhooks/{webhook}/dead", Action::Enrol),
    ("POST", "/v1/webhooks/{webhook}/replay", Action::Enrol),
    ("DELETE", "/v1/webhooks/{webhook}", Action::Enrol),
    ("GET", "/v1/break-glass", Action::Direct),
    ("POST", "/v1/break-glass", Action::BreakGlass),
    ("GET", "/v1/quarantine", Action::Operate),
    ("POST", "/v1/reports", Action::Report),
    ("POST", "/v1/session", Action::Open),
    ("DELETE", "/v1/session", Action::Open),
    ("GET", "/v1/tokens", Action::Issue),
    ("POST", "/v1/tokens", Action::Issue),
    ("DELETE", "/v1/tokens/{token}", Action::Issue),
    ("POST", "/muster.v1.Ingest/Connect", Action::Report),
    ("POST", "/muster.v1.Query/Nearest", Action::Look),
    ("POST", "/muster.v1.Query/NearestStream", Action::Look),
    ("POST", "/muster.v1.Query/Within", Action::Look),
    ("POST", "/muster.v1.Query/Watch", Action::Look),
    ("POST", "/muster.v1.Zones/List", Action::Look),
    ("POST", "/muster.v1.Zones/Read", Action::Look),
    ("POST", "/muster.v1.Zones/Write", Action::Enrol),
    ("POST", "/muster.v1.Zones/Delete", Action::Enrol),
    ("POST", "/grpc.health.v1.Health/Check", Action::Open),
    ("POST", "/grpc.health.v1.Health/Watch", Action::Open),
    ("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Action::Open),
];

pub(super) fn operation(method: &Method, path: &str) -> Operation {
    let mut of_path = OPERATIONS.iter().filter(|(_, one, _)| *one == path).peekable();
    if of_path.peek().is_none() {
        return Operation::UnknownPath;
    }
    let found = of_path.find(|(one, _, _)| *one == method.as_str());
    found.map_or(Operation::UnknownMethod, |(_, _, action)| Operation::Known(*action))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn of_the_table(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<(String, String)> {
        let wanted = OPERATIONS.iter().filter(|(_, path, _)| is_wanted(path));
        wanted.map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect()
    }

    #[test]
    fn the_table_has_every_documented_operation_and_no_other() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let documented: BTreeSet<_> = paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (method.to_ascii_uppercase(), path.clone()))
            })
            .collect();
        assert_eq!(of_the_table(|path| path.starts_with("/v1/")), {
            documented.iter().filter(|(_, path)| path.starts_with("/v1/")).cloned().collect()
        });
        let missing: Vec<_> = documented.difference(&of_the_table(|_| true)).cloned().collect();
        assert_eq!(missing, []);
    }

    #[test]
    fn the_table_has_every_call_of_the_descriptors_and_no_other() {
        let files = FileDescriptorSet::decode(crate::grpc::DESCRIPTORS).unwrap().file;
        let calls = files.iter().flat_map(|file| {
            file.service.iter().flat_map(move |service| {
                let path = move |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
                service.method.iter().map(move |method| ("POST".to_owned(), path(method.name())))
            })
        });
        assert_eq!(of_the_table(|path| path.starts_with("/muster.v1.")), calls.collect());
    }

    #[test]
    fn what_is_not_in_the_table_is_not_known() {
        assert_eq!(operation(&Method::GET, "/v1/secrets"), Operation::UnknownPath);
        assert_eq!(operation(&Method::PATCH, "/v1/units"), Operation::UnknownMethod);
        assert_eq!(operation(&Method::GET, "/v1/units"), Operation::Known(Action::Look));
    }
}
