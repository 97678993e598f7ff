//! DOTS bodies: CBOR and JSON, each way.

use dots_callhome::body::{Body, Direction};
use dots_callhome::{MitigationRequest, Profile};

/// Reads `data` as CBOR.
pub fn cbor(data: &[u8]) {
    let [asked, said] = [Direction::Request, Direction::Response].map(|direction| {
        let read = Body::decode(data, direction);
        if let Err(error) = &read {
            assert!(error.offset <= data.len(), "{error}");
            let _ = error.to_string();
        }
        read.ok()
    });
    if let Some(asked) = &asked {
        assert_eq!(said.as_ref(), Some(asked), "what may be asked may be said");
    }
    let Some(body) = said else { return };
    written(&body);
    if let Body::Mitigation(scopes) = &body {
        for scope in scopes {
            for profile in [Profile::Rfc9066, Profile::Base] {
                if let Ok(request) = MitigationRequest::check(scope.clone(), profile, false) {
                    assert!(request.same_parameters(&request));
                    if !request.targets().is_empty() {
                        assert!(request.overlaps(&request, false));
                    }
                    // What may be asked can be read by whoever is asked.
                    let octets = Body::from(scope.clone()).to_vec();
                    assert!(Body::decode(&octets, Direction::Request).is_ok());
                }
            }
        }
    }
}

/// Reads `data` as JSON.
pub fn json(data: &[u8]) {
    match Body::from_json(data) {
        Ok(body) => written(&body),
        Err(error) => {
            let _ = error.to_string();
        }
    }
}

fn written(body: &Body) {
    let octets = body.to_vec();
    assert_eq!(Body::decode(&octets, Direction::Response).as_ref(), Ok(body));
    assert_eq!(Body::decode(&octets, Direction::Response).expect("read").to_vec(), octets);
    let json = body.to_json().to_string();
    assert_eq!(Body::from_json(json.as_bytes()).as_ref(), Ok(body), "{json}");
}
